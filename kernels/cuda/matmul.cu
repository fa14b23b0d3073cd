// The operations that are matrix products, each brought to the form of gemm.cuh and given to the
// kernel that fits its shape. The choice changes speed only: all kernels give the same bits.

#include "kernels/cuda/gemm.cuh"
#include "kernels/cuda/packed_layout.cuh"
#include "kernels/cuda/scratch.h"
#include "kernels/device/cuda/ops.h"

namespace conclave::device::cuda {
namespace {

// Above this many rows the tiled kernel is the faster one (measured on an H100,
// docs/gpu_kernels.md): of a group on average; of a single matrix; of one so large that its blocks
// fill the device anyway.
constexpr int64_t kTiledGroupRows = 12;
constexpr int64_t kTiledRows = 64;
constexpr int64_t kTiledRowsOfLargeMatrix = 32;
constexpr int64_t kLargeMatrixOutputs = 65536;

int64_t streamed_rows(const Gemm& gemm) {
  if (gemm.counts != nullptr) return kTiledGroupRows;
  return gemm.n >= kLargeMatrixOutputs ? kTiledRowsOfLargeMatrix : kTiledRows;
}

bool has_many_rows(const Gemm& gemm) {
  const int64_t rows =
      int64_t{gemm.rows.bound} * gemm.top_k / (gemm.counts == nullptr ? 1 : gemm.groups);
  return rows > streamed_rows(gemm);
}

// Two chains for each output: in one kernel, but for few rows of a weight with many panels.
cudaError_t run_segments(Context* context, Gemm gemm, cudaStream_t stream) {
  const Machine& machine = context->machine;
  gemm.segments = 2;
  if (has_many_rows(gemm)) return gemm_tiled(gemm, Epilogue::kFloat, machine, stream);
  if (can_stream_segments(gemm, machine)) return gemm_streaming_segments(gemm, stream);
  Gemm segment = gemm;
  segment.segments = 1;
  segment.k = gemm.k / 2;
  const cudaError_t error = gemm_streaming(segment, Epilogue::kFloat, machine, stream);
  if (error != cudaSuccess) return error;
  segment.weight =
      static_cast<const char*>(gemm.weight) + int64_t{segment.k} / kBlockK * kBlockBytes;
  segment.x = static_cast<const char*>(gemm.x) + int64_t{segment.k} * 2;
  segment.bias = nullptr;
  segment.accumulate = 1;
  return gemm_streaming(segment, Epilogue::kFloat, machine, stream);
}

// The sums are those of the shape alone (gemm.cuh).
cudaError_t run(Context* context, const Gemm& gemm, Epilogue epilogue, cudaStream_t stream) {
  if (context->compute_type == kComputeF32) return gemm_float32(gemm, epilogue, stream);
  if (gemm.k % 64 != 0) return gemm_any_shape(gemm, epilogue, stream);
  if (epilogue == Epilogue::kFloat && gemm.k > kSegmentK && gemm.k % 128 == 0) {
    return run_segments(context, gemm, stream);
  }
  return has_many_rows(gemm) ? gemm_tiled(gemm, epilogue, context->machine, stream)
                             : gemm_streaming(gemm, epilogue, context->machine, stream);
}

Gemm base(RowCount rows, const void* x, int64_t n, int64_t k, int32_t dtype, void* out) {
  Gemm gemm{};
  gemm.groups = 1;
  gemm.rows = rows;
  gemm.top_k = 1;
  gemm.dtype = dtype;
  gemm.n = static_cast<int32_t>(n);
  gemm.k = gemm.whole_k = static_cast<int32_t>(k);
  gemm.segments = 1;
  gemm.x = x;
  gemm.out = out;
  return gemm;
}

Status ffn(Context* context, cudaStream_t stream, Gemm up, Gemm down) {
  void* hidden = context->scratch->expert_hidden;
  up.out = hidden;
  down.x = hidden;
  const Status status = check(run(context, up, Epilogue::kSwiglu, stream), "expert gate and up");
  if (status != kOk) return status;
  return check(run(context, down, Epilogue::kPairs, stream), "expert down");
}

}  // namespace

Status supports_matrix(Context*, int64_t n, int64_t k, int32_t dtype, int32_t is_gate_up) {
  constexpr int64_t kMost = int64_t{1} << 24;
  if (n < 1 || k < 1 || n > kMost || k > kMost) {
    return fail(kUnimplemented, "matrix [%lld, %lld]: sizes must be between 1 and %lld",
                static_cast<long long>(n), static_cast<long long>(k),
                static_cast<long long>(kMost));
  }
  if (is_gate_up != 0 && n % 2 != 0) {
    return fail(kInvalidArgument, "gate/up matrix with an odd number of rows (%lld)",
                static_cast<long long>(n));
  }
  return dtype >= kTypeF32 && dtype <= kTypeBF16
             ? kOk
             : fail(kInvalidArgument, "weights of unknown type %d", dtype);
}

Status matmul(Context* context, Stream* stream, RowCount rows, const void* x,
              const PackedMatrix* weight, const float* bias, int32_t accumulate, float* out) {
  if (rows.bound == 0) return kOk;
  Gemm gemm = base(rows, x, weight->n, weight->k, weight->dtype, out);
  gemm.weight = weight->data;
  gemm.bias = bias;
  gemm.accumulate = accumulate;
  return check(run(context, gemm, Epilogue::kFloat, native(stream)), "matmul");
}

Status expert_ffn(Context* context, Stream* stream, const RouterShape* router,
                  const ExpertShape* shape, RowCount rows, const void* x, const ExpertLists* lists,
                  const ExpertSlot* slots, void* out) {
  if (rows.bound == 0) return kOk;
  Gemm up = base(rows, x, 2 * shape->intermediate, shape->hidden, shape->dtype, nullptr);
  up.counts = lists->counts;
  up.offsets = lists->offsets;
  up.pairs = lists->pairs;
  up.groups = router->experts;
  up.top_k = router->top_k;
  up.gather = true;
  up.slots = slots;
  Gemm down = up;
  down.n = static_cast<int32_t>(shape->hidden);
  down.k = down.whole_k = static_cast<int32_t>(shape->intermediate);
  down.gather = false;
  down.down = true;
  down.lists_final = true;
  down.out = out;
  return ffn(context, native(stream), up, down);
}

Status dense_ffn(Context* context, Stream* stream, const ExpertShape* shape, RowCount rows,
                 const void* x, const ExpertSlot* slot, void* out) {
  if (rows.bound == 0) return kOk;
  Gemm up = base(rows, x, 2 * shape->intermediate, shape->hidden, shape->dtype, nullptr);
  up.weight = slot->gate_up;
  Gemm down = base(rows, nullptr, shape->hidden, shape->intermediate, shape->dtype, out);
  down.weight = slot->down;
  return ffn(context, native(stream), up, down);
}

}  // namespace conclave::device::cuda
