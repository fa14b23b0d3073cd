// The weighted sum of expert rows, added to the residual stream, and the norm for what follows, in
// one kernel for decode steps. Each element is summed as in combine, by the thread that owns it in
// the norm (row_norm.cuh): the same bits as the two kernels.

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/row_norm.cuh"
#include "kernels/device/cuda/ops.h"

namespace conclave::device::cuda {
namespace {

// Above this many rows, wider loads by combine gain more than a kernel saved.
constexpr int32_t kMostRows = 512;
constexpr int64_t kMaxHidden = 16 * kRowThreads;

template <typename T>
struct CombineNorm {
  RowCount rows;
  int32_t hidden, top_k;
  const int32_t* ids;
  const float* weights;
  CombineSources sources;
  const T* shared;
  const float* shared_gate;
  float* residual;
  const float* norm_weight;
  float eps;
  T* out;
};

template <int kKept, typename T>
__device__ void add_scaled(int32_t hidden, const T* row, float weight, float (&sum)[kKept]) {
#pragma unroll
  for (int i = 0; i < kKept; ++i) {
    const int32_t at = threadIdx.x + i * kRowThreads;
    if (at < hidden) sum[i] = fmaf(weight, to_float(row[at]), sum[i]);
  }
}

template <int kKept, typename T>
__global__ void __launch_bounds__(kRowThreads) combine_norm_kernel(CombineNorm<T> work) {
  __shared__ float scratch[32];
  for (int32_t i = threadIdx.x * 32; i < work.hidden; i += kRowThreads * 32) {
    prefetch_line(work.norm_weight + i);
  }
  wait_for_predecessor();
  const int64_t row = blockIdx.x;
  if (row >= actual_rows(work.rows)) return;
  float* residual = work.residual + row * work.hidden;
  float kept[kKept], sum[kKept] = {};
#pragma unroll
  for (int i = 0; i < kKept; ++i) {
    const int32_t at = threadIdx.x + i * kRowThreads;
    kept[i] = at < work.hidden ? residual[at] : 0.0f;
  }
  const bool summed = work.top_k == 0 || work.ids[row * work.top_k] >= 0;
  const CombineSources& sources = work.sources;
#pragma unroll 4
  for (int32_t j = 0; j < (summed ? work.top_k : 0); ++j) {
    const int64_t pair = row * work.top_k + j;
    const int32_t owner = sources.owner == nullptr ? sources.self : sources.owner[work.ids[pair]];
    const bool local = owner == sources.self;
    const int64_t from = local ? pair : int64_t{owner} * work.rows.bound * work.top_k + pair;
    const T* data = static_cast<const T*>(local ? sources.local : sources.remote);
    add_scaled<kKept>(work.hidden, data + from * work.hidden, work.weights[pair], sum);
  }
  if (summed && work.shared != nullptr) {
    const float gate = work.shared_gate == nullptr ? 1.0f : sigmoid(work.shared_gate[row]);
    add_scaled<kKept>(work.hidden, work.shared + row * work.hidden, gate, sum);
  }
#pragma unroll
  for (int i = 0; i < kKept; ++i) {
    const int32_t at = threadIdx.x + i * kRowThreads;
    if (!summed || at >= work.hidden) continue;
    kept[i] = kept[i] + sum[i];
    residual[at] = kept[i];
  }
  norm_kept(work.hidden, work.norm_weight, work.eps, work.out + row * work.hidden, scratch,
            residual, kept, squares_of(kept));
}

template <typename T>
cudaError_t run(const CombineNorm<T>& work, cudaStream_t stream) {
  const auto kernel = work.hidden <= 8 * kRowThreads ? combine_norm_kernel<8, T>
                                                     : combine_norm_kernel<16, T>;
  return start(kernel, dim3(work.rows.bound), dim3(kRowThreads), 0, stream, work);
}

}  // namespace

Status combine_norm(Context* context, Stream* stream, RowCount rows, int64_t hidden, int32_t top_k,
                    const int32_t* ids, const float* weights, const CombineSources* sources,
                    const void* shared, const float* shared_gate, float* residual,
                    const float* norm_weight, float eps, void* normed) {
  if (rows.bound == 0) return kOk;
  if (context->machine.tuning.fuse == 0 || rows.bound > kMostRows || hidden > kMaxHidden) {
    const Status status = combine(context, stream, rows, hidden, top_k, ids, weights, sources,
                                  shared, shared_gate, 1, residual);
    if (status != kOk) return status;
    return add_rms_norm(context, stream, rows, hidden, residual, nullptr, norm_weight, eps, normed);
  }
  const auto launch = [&](auto* out) {
    using T = std::remove_pointer_t<decltype(out)>;
    const CombineNorm<T> work{rows,     static_cast<int32_t>(hidden),
                              top_k,    ids,
                              weights,  *sources,
                              static_cast<const T*>(shared),
                              shared_gate,
                              residual, norm_weight,
                              eps,      out};
    return check(run(work, native(stream)), "combine_norm");
  };
  return context->compute_type == kComputeF32 ? launch(static_cast<float*>(normed))
                                              : launch(static_cast<bf16*>(normed));
}

}  // namespace conclave::device::cuda
