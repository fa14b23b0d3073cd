#ifndef CONCLAVE_KERNELS_DEVICE_CUDA_RUNTIME_H_
#define CONCLAVE_KERNELS_DEVICE_CUDA_RUNTIME_H_

// Devices, memory and order: the part of the table in kernels/device_ops.h that is CUDA's runtime
// with errors mapped (contracts are there).

#include "kernels/device/cuda/context.h"

namespace conclave::device::cuda {

Status device_count(int32_t* count, char* message, size_t message_bytes);
Status device_info(int32_t index, DeviceInfo* info, char* message, size_t message_bytes);
Status create(int32_t index, int32_t compute_type, Context** out, char* message,
              size_t message_bytes);
void destroy(Context* context);
const char* message(Context* context);
Status reserve(Context* context, const Limits* limits);

Status alloc(Context* context, size_t bytes, void** out);
Status free(Context* context, void* memory);
Status alloc_pinned(Context* context, size_t bytes, void** out);
Status free_pinned(Context* context, void* memory);
Status copy(Context* context, Stream* stream, void* to, const void* from, size_t bytes);
Status fill(Context* context, Stream* stream, void* to, int32_t byte, size_t bytes);
Status memory_info(Context* context, uint64_t* free_bytes, uint64_t* total_bytes);

Status stream_create(Context* context, int32_t high_priority, Stream** out);
Status stream_destroy(Context* context, Stream* stream);
Status stream_synchronize(Context* context, Stream* stream);
Status event_create(Context* context, int32_t timing, Event** out);
Status event_destroy(Context* context, Event* event);
Status event_record(Context* context, Stream* stream, Event* event);
Status event_wait(Context* context, Stream* stream, Event* event);
Status event_done(Context* context, Event* event, int32_t* done);
Status event_elapsed_ms(Context* context, Event* begin, Event* end, float* ms);
Status graph_begin(Context* context, Stream* stream);
Status graph_end(Context* context, Stream* stream, Graph** out);
Status graph_launch(Context* context, Stream* stream, Graph* graph);
Status graph_destroy(Context* context, Graph* graph);

}  // namespace conclave::device::cuda

#endif  // CONCLAVE_KERNELS_DEVICE_CUDA_RUNTIME_H_
