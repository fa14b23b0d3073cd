// The plugin's entry: the table of kernels/device_ops.h, put together from its parts.

#include "kernels/device/cuda/comm_ops.h"
#include "kernels/device/cuda/ops.h"
#include "kernels/device/cuda/runtime.h"

namespace conclave::device::cuda {
namespace {

constexpr DeviceOps kTable = {
    .abi_version = kAbiVersion,
    .struct_bytes = sizeof(DeviceOps),
    .name = "cuda-sm90",
    .device_count = cuda::device_count,
    .device_info = cuda::device_info,
    .create = cuda::create,
    .destroy = cuda::destroy,
    .message = cuda::message,
    .reserve = cuda::reserve,
    .alloc = cuda::alloc,
    .free = cuda::free,
    .alloc_pinned = cuda::alloc_pinned,
    .free_pinned = cuda::free_pinned,
    .copy = cuda::copy,
    .fill = cuda::fill,
    .memory_info = cuda::memory_info,
    .stream_create = cuda::stream_create,
    .stream_destroy = cuda::stream_destroy,
    .stream_synchronize = cuda::stream_synchronize,
    .event_create = cuda::event_create,
    .event_destroy = cuda::event_destroy,
    .event_record = cuda::event_record,
    .event_wait = cuda::event_wait,
    .event_done = cuda::event_done,
    .event_elapsed_ms = cuda::event_elapsed_ms,
    .graph_begin = cuda::graph_begin,
    .graph_end = cuda::graph_end,
    .graph_launch = cuda::graph_launch,
    .graph_destroy = cuda::graph_destroy,
    .supports_attention = cuda::supports_attention,
    .supports_router = cuda::supports_router,
    .supports_matrix = cuda::supports_matrix,
    .stored_dtype = cuda::stored_dtype,
    .packed_bytes = cuda::packed_bytes,
    .kv_block_bytes = cuda::kv_block_bytes,
    .pack_matrix = cuda::pack_matrix,
    .pack_gate_up = cuda::pack_gate_up,
    .convert = cuda::convert,
    .fill_random = cuda::fill_random,
    .resolve_tokens = cuda::resolve_tokens,
    .embed = cuda::embed,
    .add_rms_norm = cuda::add_rms_norm,
    .matmul = cuda::matmul,
    .append_kv = cuda::append_kv,
    .attention = cuda::attention,
    .route = cuda::route,
    .group_experts = cuda::group_experts,
    .expert_ffn = cuda::expert_ffn,
    .dense_ffn = cuda::dense_ffn,
    .combine = cuda::combine,
    .gather_rms_norm = cuda::gather_rms_norm,
    .sample = cuda::sample,
    .comm_create = cuda::comm_create,
    .comm_destroy = cuda::comm_destroy,
    .comm_name = cuda::comm_name,
    .comm_alloc = cuda::comm_alloc,
    .comm_all_gather = cuda::comm_all_gather,
    .comm_all_to_all = cuda::comm_all_to_all,
    .comm_all_reduce = cuda::comm_all_reduce,
    .comm_check = cuda::comm_check,
    .comm_abort = cuda::comm_abort,
    .append_attention = cuda::append_attention,
    .norm_route = cuda::norm_route,
    .combine_norm = cuda::combine_norm,
    .matmul_peak = cuda::matmul_peak,
};

}  // namespace
}  // namespace conclave::device::cuda

extern "C" __attribute__((visibility("default"))) const conclave::device::DeviceOps*
conclave_device_ops(uint32_t wanted_abi) {
  return wanted_abi == conclave::device::kAbiVersion ? &conclave::device::cuda::kTable : nullptr;
}
