#ifndef CONCLAVE_KERNELS_DEVICE_CUDA_COMM_OPS_H_
#define CONCLAVE_KERNELS_DEVICE_CUDA_COMM_OPS_H_

// The collective part of the table in kernels/device_ops.h (contracts are there). Declared here so
// that the table can be put together below comm/; comm/nccl implements it.

#include "kernels/device/cuda/context.h"

namespace conclave::device::cuda {

Status comm_create(Context* context, const CommBootstrap* bootstrap, int32_t kind, Comm** out);
void comm_destroy(Context* context, Comm* comm);
const char* comm_name(Context* context, Comm* comm);
Status comm_alloc(Context* context, Comm* comm, size_t bytes, void** out);
Status comm_all_gather(Context* context, Stream* stream, Comm* comm, const GatherPart* parts,
                       int32_t count);
Status comm_all_to_all(Context* context, Stream* stream, Comm* comm, const void* send, void* recv,
                       int32_t rows_per_rank, size_t row_bytes, const int32_t* rows,
                       const int32_t* count);
Status comm_all_reduce(Context* context, Stream* stream, Comm* comm, const float* send, float* recv,
                       int64_t count);
Status comm_check(Context* context, Comm* comm, int32_t* peer);
void comm_abort(Context* context, Comm* comm);

}  // namespace conclave::device::cuda

#endif  // CONCLAVE_KERNELS_DEVICE_CUDA_COMM_OPS_H_
