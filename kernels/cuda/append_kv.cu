// From projected rows to queries and cache: norms of q and k, clip, rotary embedding, K/V append.

#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/element.cuh"
#include "kernels/cuda/head_vector.cuh"
#include "kernels/cuda/kv_layout.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/device/cuda/ops.h"

namespace conclave::device::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;

// Sum of squares of x[0, n) over the block.
__device__ float square_sum(const float* x, int32_t n, float* scratch) {
  float sum = 0;
  for (int32_t i = threadIdx.x; i < n; i += kThreads) sum = fmaf(x[i], x[i], sum);
  const float total = block_sum(sum, scratch);
  __syncthreads();
  return total;
}

__device__ HeadNorm norm_of(const AttentionShape& shape, const float* head, int32_t index,
                            const float* weight, float full_width_scale) {
  if (weight == nullptr || shape.qk_norm == kQkNormNone) return {nullptr, 1.0f};
  if (shape.qk_norm == kQkNormFullWidth) return {weight + index * shape.head_dim, full_width_scale};
  float sum = 0;
  for (int32_t i = threadIdx.x % 32; i < shape.head_dim; i += 32) sum = fmaf(head[i], head[i], sum);
  return {weight, head_scale(warp_sum(sum), shape.head_dim, shape.norm_eps)};
}

// swizzle: the token's place in its block where the cache is swizzled, else 0, which changes
// nothing.
template <typename T>
__device__ void write_head(const AttentionShape& shape, const AttentionParameters& parameters,
                           const HeadNorm& norm, const float* head, int32_t position, bool rotates,
                           int32_t swizzle, T* out) {
  const auto value = [&](int32_t i) { return normed_element(norm, head[i], i, shape.clip); };
  const int32_t rotary = rotates ? shape.rotary_dim : 0;
  const int32_t half = rotary / 2;
  for (int32_t i = threadIdx.x % 32; i < half; i += 32) {
    const Turn turn = turn_of(parameters, position, i);
    const float low = value(i), high = value(i + half);
    out[swizzled(i, swizzle)] = from_float<T>(turned_low(turn, low, high));
    out[swizzled(i + half, swizzle)] = from_float<T>(turned_high(turn, low, high));
  }
  for (int32_t i = rotary + threadIdx.x % 32; i < shape.head_dim; i += 32) {
    out[swizzled(i, swizzle)] = from_float<T>(value(i));
  }
}

__device__ void prefetch_constants(const AttentionShape& shape,
                                   const AttentionParameters& parameters) {
  const auto i = static_cast<int32_t>(threadIdx.x) * 32;  // a line of floats
  if (i < shape.rotary_dim / 2) prefetch_line(parameters.inverse_freq + i);
  if (shape.qk_norm != kQkNormPerHead || i >= shape.head_dim) return;
  if (parameters.q_norm != nullptr) prefetch_line(parameters.q_norm + i);
  if (parameters.k_norm != nullptr) prefetch_line(parameters.k_norm + i);
}

// Blocks of 8 heads of a row, a warp per head.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    append_kv_kernel(AttentionShape shape, AttentionParameters parameters, AttentionBatch batch,
                     const float* qkv, KvLayer kv, T* q_out) {
  __shared__ float scratch[32];
  trigger_successor();
  const int32_t t = blockIdx.x;
  const int32_t count = planned_rows(batch.rows);
  const AttentionRow row = load_plan(batch.row + t);
  const bool used = t < count && row.position >= 0;
  const int32_t block =
      used ? load_plan(batch.block_ids + row.block_table + row.position / kKvTokens) : 0;
  prefetch_constants(shape, parameters);
  wait_only();
  if (!used) return;
  const int32_t d = shape.head_dim;
  const int64_t width = int64_t{shape.heads + 2 * shape.kv_heads} * d;
  const float* q = qkv + t * width;
  const float* k = q + int64_t{shape.heads} * d;
  const float* v = k + int64_t{shape.kv_heads} * d;
  float q_scale = 1, k_scale = 1;
  if (shape.qk_norm == kQkNormFullWidth) {
    const int32_t q_width = shape.heads * d, k_width = shape.kv_heads * d;
    q_scale = head_scale(square_sum(q, q_width, scratch), q_width, shape.norm_eps);
    k_scale = head_scale(square_sum(k, k_width, scratch), k_width, shape.norm_eps);
  }
  T* cache = reinterpret_cast<T*>(static_cast<char*>(kv.data) + block * kv.block_stride_bytes);
  const int32_t token = row.position % kKvTokens;
  const int32_t swizzle =
      attention_on_tensor_cores(shape, sizeof(T) == 2 ? kComputeBF16 : kComputeF32) ? token : 0;
  const int32_t heads = shape.heads + 2 * shape.kv_heads;
  const int32_t h = blockIdx.y * kWarps + threadIdx.x / 32;
  if (h < heads) {
    if (h < shape.heads) {
      const float* head = q + int64_t{h} * d;
      const HeadNorm norm = norm_of(shape, head, h, parameters.q_norm, q_scale);
      write_head(shape, parameters, norm, head, row.position, true, 0,
                 q_out + (int64_t{t} * shape.heads + h) * d);
    } else if (h < shape.heads + shape.kv_heads) {
      const int32_t j = h - shape.heads;
      const float* head = k + int64_t{j} * d;
      const HeadNorm norm = norm_of(shape, head, j, parameters.k_norm, k_scale);
      write_head(shape, parameters, norm, head, row.position, true, swizzle,
                 cache + kv_offset(d, j, false, token));
    } else {
      const int32_t j = h - shape.heads - shape.kv_heads;
      write_head(shape, parameters, {nullptr, 1.0f}, v + int64_t{j} * d, row.position, false,
                 swizzle, cache + kv_offset(d, j, true, token));
    }
  }
}

}  // namespace

Status append_kv(Context* context, Stream* stream, const AttentionShape* shape,
                 const AttentionParameters* parameters, const AttentionBatch* batch, float* qkv,
                 const KvLayer* kv, void* q_out) {
  if (batch->rows.bound == 0) return kOk;
  const dim3 grid(batch->rows.bound, (shape->heads + 2 * shape->kv_heads + kWarps - 1) / kWarps);
  const dim3 block(kThreads);
  const cudaError_t error =
      context->compute_type == kComputeF32
          ? start(append_kv_kernel<float>, grid, block, 0, native(stream), *shape, *parameters,
                  *batch, qkv, *kv, static_cast<float*>(q_out))
          : start(append_kv_kernel<bf16>, grid, block, 0, native(stream), *shape, *parameters,
                  *batch, qkv, *kv, static_cast<bf16*>(q_out));
  return check(error, "append_kv");
}

size_t kv_block_bytes(Context* context, const AttentionShape* shape) {
  return static_cast<size_t>(kKvTokens) * 2 * static_cast<size_t>(shape->kv_heads) *
         static_cast<size_t>(shape->head_dim) * (context->compute_type == kComputeF32 ? 4 : 2);
}

}  // namespace conclave::device::cuda
