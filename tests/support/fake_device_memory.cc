// The fake device: its existence, memory, and order of work.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>

#include "kernels/reference/reference_kernels.h"
#include "tests/support/fake_device_context.h"
#include "tests/support/fake_device_ops.h"

namespace conclave::device {
namespace fake {
namespace {

Status device_count(int32_t* count, char*, size_t) {
  *count = kFakeDevices;
  return kOk;
}
Status device_info(int32_t index, DeviceInfo* info, char*, size_t) {
  *info = DeviceInfo{};
  std::snprintf(info->name, sizeof info->name, "host memory");
  info->index = index;
  info->memory_total = info->memory_free = uint64_t{1} << 30;
  return kOk;
}
Status create(int32_t index, int32_t compute_type, Context** out, char* message, size_t bytes) {
  if (index < 0 || index >= kFakeDevices) {
    std::snprintf(message, bytes, "there is no device %d", index);
    return kNoDevice;
  }
  auto context = std::make_unique<Context>();
  context->kernels = kernels::make_reference_kernels(
      compute_type == kComputeF32 ? ComputeType::kF32 : ComputeType::kBF16);
  *out = context.release();
  return kOk;
}
void destroy(Context* context) { delete context; }
const char* message(Context* context) { return context->message.c_str(); }
Status reserve(Context* context, const Limits* limits) {
  return context->kernels
                 ->reserve({limits->max_rows, limits->max_expert_rows, limits->hidden,
                            limits->max_intermediate, limits->vocab, limits->max_positions})
                 .ok()
             ? kOk
             : kNoMemory;
}
Status alloc(Context*, size_t bytes, void** out) {
  constexpr size_t kAlignment = 256;
  *out = std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  std::memset(*out, 0xff, bytes);  // NaN, -1
  return kOk;
}
Status free_memory(Context*, void* memory) {
  std::free(memory);
  return kOk;
}
Status copy(Context* context, Stream*, void* to, const void* from, size_t bytes) {
  return context->enqueue([=] { std::memmove(to, from, bytes); });
}
Status fill(Context* context, Stream*, void* to, int32_t byte, size_t bytes) {
  return context->enqueue([=] { std::memset(to, byte, bytes); });
}
Status memory_info(Context*, uint64_t* free_bytes, uint64_t* total_bytes) {
  *free_bytes = *total_bytes = uint64_t{1} << 26;
  return kOk;
}
Status stream_create(Context*, int32_t, Stream** out) {
  *out = new Stream;
  return kOk;
}
Status stream_destroy(Context*, Stream* stream) {
  delete stream;
  return kOk;
}
Status stream_synchronize(Context* context, Stream*) {
  if (context->capturing != nullptr) {
    return context->fail(kInvalidArgument, "waited while capturing");
  }
  if (context->deferred) context->run_until(context->enqueued);
  return kOk;
}
Status event_create(Context*, int32_t, Event** out) {
  *out = new Event;
  return kOk;
}
Status event_destroy(Context*, Event* event) {
  delete event;
  return kOk;
}
Status event_record(Context* context, Stream*, Event* event) {
  if (!context->deferred) return kOk;
  event->after = context->enqueued;
  ++context->events;
  return kOk;
}
Status event_wait(Context*, Stream*, Event*) { return kOk; }
Status event_done(Context* context, Event* event, int32_t* done) {
  *done = context->deferred && context->events < context->hold_events ? 0 : 1;
  if (context->deferred && *done != 0) context->run_until(event->after);
  return context->failed ? context->fail(kPeerLost, "a rank is late or gone") : kOk;
}
Status event_elapsed_ms(Context*, Event*, Event*, float* ms) {
  *ms = 0;
  return kOk;
}
Status graph_begin(Context* context, Stream*) {
  context->capturing = new Graph;
  return kOk;
}
Status graph_end(Context* context, Stream*, Graph** out) {
  *out = std::exchange(context->capturing, nullptr);
  return kOk;
}
Status graph_launch(Context* context, Stream*, Graph* graph) {
  for (const auto& call : graph->calls) context->enqueue(call);
  return kOk;
}
Status graph_destroy(Context*, Graph* graph) {
  delete graph;
  return kOk;
}

}  // namespace

void add_memory(DeviceOps* table) {
  table->device_count = device_count;
  table->device_info = device_info;
  table->create = create;
  table->destroy = destroy;
  table->message = message;
  table->reserve = reserve;
  table->alloc = alloc;
  table->free = free_memory;
  table->alloc_pinned = alloc;
  table->free_pinned = free_memory;
  table->copy = copy;
  table->fill = fill;
  table->memory_info = memory_info;
  table->stream_create = stream_create;
  table->stream_destroy = stream_destroy;
  table->stream_synchronize = stream_synchronize;
  table->event_create = event_create;
  table->event_destroy = event_destroy;
  table->event_record = event_record;
  table->event_wait = event_wait;
  table->event_done = event_done;
  table->event_elapsed_ms = event_elapsed_ms;
  table->graph_begin = graph_begin;
  table->graph_end = graph_end;
  table->graph_launch = graph_launch;
  table->graph_destroy = graph_destroy;
}

}  // namespace fake
}  // namespace conclave::device
