// Operations on single rows: token lookup, embedding, norms, the weighted sum of expert rows. One
// block per row and a block shape fixed by the width, so a row's bits do not depend on its company.

#include "kernels/cuda/element.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/row_norm.cuh"
#include "kernels/device/cuda/ops.h"

namespace conclave::device::cuda {
namespace {

__global__ void resolve_kernel(RowCount rows, const int32_t* plan, const SamplingResult* previous,
                               int32_t vocab, int32_t* out) {
  wait_for_predecessor();
  const int32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= actual_rows(rows)) return;
  const int32_t wanted = plan[i];
  const int32_t token = wanted >= 0 ? wanted : previous[-1 - wanted].token;
  out[i] = max(0, min(token, vocab - 1));
}

__global__ void embed_kernel(RowCount rows, const int32_t* ids, const void* table, int32_t dtype,
                             int64_t vocab, int64_t hidden, float* out) {
  wait_for_predecessor();
  const int32_t row = blockIdx.x;
  if (row >= actual_rows(rows)) return;
  int64_t id = ids[row];
  id = id < 0 ? 0 : (id >= vocab ? vocab - 1 : id);
  for (int64_t i = threadIdx.x; i < hidden; i += blockDim.x) {
    out[row * hidden + i] = load_any(table, dtype, id * hidden + i);
  }
}

template <int kKept, typename T>
__global__ void __launch_bounds__(kRowThreads)
    add_rms_norm_kernel(RowCount rows, int64_t hidden, float* residual, const float* addend,
                        const float* weight, float eps, T* out) {
  __shared__ float scratch[32];
  wait_for_predecessor();
  const int64_t row = blockIdx.x;
  if (row >= actual_rows(rows)) return;
  float* r = residual + row * hidden;
  T* to = out == nullptr ? nullptr : out + row * hidden;
  if (addend == nullptr) {
    norm_row<kKept>(hidden, weight, eps, to, scratch, r, [&](int64_t i) { return r[i]; });
    return;
  }
  const float* a = addend + row * hidden;
  norm_row<kKept>(hidden, weight, eps, to, scratch, r, [&](int64_t i) {
    const float sum = r[i] + a[i];
    r[i] = sum;
    return sum;
  });
}

template <int kKept, typename T>
__global__ void __launch_bounds__(kRowThreads)
    gather_rms_norm_kernel(RowCount rows, int64_t hidden, const float* residual,
                           const int32_t* index, const float* weight, float eps, T* out) {
  __shared__ float scratch[32];
  wait_for_predecessor();
  const int64_t row = blockIdx.x;
  if (row >= actual_rows(rows) || index[row] < 0) return;
  const float* r = residual + index[row] * hidden;
  norm_row<kKept>(hidden, weight, eps, out + row * hidden, scratch, r,
                  [&](int64_t i) { return r[i]; });
}

// `Width` neighbouring elements as one access.
template <typename T, int Width>
struct alignas(sizeof(T) * Width) Pack {
  T value[Width];
};

template <typename T, int Width>
__global__ void __launch_bounds__(kRowThreads)
    combine_kernel(RowCount rows, int64_t hidden, int32_t top_k, const int32_t* ids,
                   const float* weights, CombineSources sources, const T* shared,
                   const float* shared_gate, int32_t accumulate, float* out) {
  wait_for_predecessor();
  const int64_t row = blockIdx.x;
  if (row >= actual_rows(rows) || (top_k > 0 && ids[row * top_k] < 0)) return;
  const int64_t first = (int64_t{blockIdx.y} * kRowThreads + threadIdx.x) * Width;
  if (first >= hidden) return;
  float sum[Width] = {};
#pragma unroll 4
  for (int32_t j = 0; j < top_k; ++j) {
    const int64_t pair = row * top_k + j;
    const int32_t owner = sources.owner == nullptr ? sources.self : sources.owner[ids[pair]];
    const bool local = owner == sources.self;
    const int64_t from = local ? pair : int64_t{owner} * rows.bound * top_k + pair;
    const T* data = static_cast<const T*>(local ? sources.local : sources.remote);
    const auto values = *reinterpret_cast<const Pack<T, Width>*>(data + from * hidden + first);
    const float weight = weights[pair];
#pragma unroll
    for (int i = 0; i < Width; ++i) sum[i] = fmaf(weight, to_float(values.value[i]), sum[i]);
  }
  if (shared != nullptr) {
    const float gate = shared_gate == nullptr ? 1.0f : sigmoid(shared_gate[row]);
    const auto values = *reinterpret_cast<const Pack<T, Width>*>(shared + row * hidden + first);
#pragma unroll
    for (int i = 0; i < Width; ++i) sum[i] = fmaf(gate, to_float(values.value[i]), sum[i]);
  }
  float* to = out + row * hidden + first;
#pragma unroll
  for (int i = 0; i < Width; ++i) to[i] = accumulate != 0 ? to[i] + sum[i] : sum[i];
}

template <typename T>
cudaError_t start_combine(cudaStream_t stream, RowCount rows, int64_t hidden, int32_t top_k,
                          const int32_t* ids, const float* weights, const CombineSources& sources,
                          const void* shared, const float* shared_gate, int32_t accumulate,
                          float* out) {
  const auto* typed = static_cast<const T*>(shared);
  const auto grid = [&](int64_t width) {
    const int64_t columns = (hidden + kRowThreads * width - 1) / (kRowThreads * width);
    return dim3(static_cast<unsigned>(rows.bound), static_cast<unsigned>(columns));
  };
  if (hidden % 4 == 0) {
    return start(combine_kernel<T, 4>, grid(4), dim3(kRowThreads), 0, stream, rows, hidden, top_k,
                 ids, weights, sources, typed, shared_gate, accumulate, out);
  }
  return start(combine_kernel<T, 1>, grid(1), dim3(kRowThreads), 0, stream, rows, hidden, top_k,
               ids, weights, sources, typed, shared_gate, accumulate, out);
}

}  // namespace

Status resolve_tokens(Context* context, Stream* stream, RowCount rows, const int32_t* plan,
                      const SamplingResult* previous, int32_t vocab, int32_t* out) {
  if (rows.bound == 0) return kOk;
  return check(start(resolve_kernel, dim3((rows.bound + 127) / 128), dim3(128), 0, native(stream),
                     rows, plan, previous, vocab, out),
               "resolve_tokens");
}

Status embed(Context* context, Stream* stream, RowCount rows, const int32_t* ids, const void* table,
             int32_t table_dtype, int64_t vocab, int64_t hidden, float* out) {
  if (rows.bound == 0) return kOk;
  return check(start(embed_kernel, dim3(rows.bound), dim3(kRowThreads), 0, native(stream), rows,
                     ids, table, table_dtype, vocab, hidden, out),
               "embed");
}

Status add_rms_norm(Context* context, Stream* stream, RowCount rows, int64_t hidden,
                    float* residual, const float* addend, const float* weight, float eps,
                    void* out) {
  if (rows.bound == 0) return kOk;
  const auto run = [&](auto kernel, auto* to) {
    return check(start(kernel, dim3(rows.bound), dim3(kRowThreads), 0, native(stream), rows, hidden,
                       residual, addend, weight, eps, to),
                 "add_rms_norm");
  };
  const bool narrow = hidden <= 8 * kRowThreads;
  if (context->compute_type == kComputeF32) {
    return run(narrow ? add_rms_norm_kernel<8, float> : add_rms_norm_kernel<16, float>,
               static_cast<float*>(out));
  }
  return run(narrow ? add_rms_norm_kernel<8, bf16> : add_rms_norm_kernel<16, bf16>,
             static_cast<bf16*>(out));
}

Status gather_rms_norm(Context* context, Stream* stream, RowCount rows, int64_t hidden,
                       const float* residual, const int32_t* index, const float* weight, float eps,
                       void* out) {
  if (rows.bound == 0) return kOk;
  const auto run = [&](auto kernel, auto* to) {
    return check(start(kernel, dim3(rows.bound), dim3(kRowThreads), 0, native(stream), rows, hidden,
                       residual, index, weight, eps, to),
                 "gather_rms_norm");
  };
  const bool narrow = hidden <= 8 * kRowThreads;
  if (context->compute_type == kComputeF32) {
    return run(narrow ? gather_rms_norm_kernel<8, float> : gather_rms_norm_kernel<16, float>,
               static_cast<float*>(out));
  }
  return run(narrow ? gather_rms_norm_kernel<8, bf16> : gather_rms_norm_kernel<16, bf16>,
             static_cast<bf16*>(out));
}

Status combine(Context* context, Stream* stream, RowCount rows, int64_t hidden, int32_t top_k,
               const int32_t* ids, const float* weights, const CombineSources* sources,
               const void* shared, const float* shared_gate, int32_t accumulate, float* out) {
  if (rows.bound == 0) return kOk;
  const auto run =
      context->compute_type == kComputeF32 ? start_combine<float> : start_combine<bf16>;
  return check(run(native(stream), rows, hidden, top_k, ids, weights, *sources, shared, shared_gate,
                   accumulate, out),
               "combine");
}

}  // namespace conclave::device::cuda
