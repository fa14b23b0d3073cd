// Attention for any head size in both compute types: a warp per row and query head, online softmax
// over tiles of 32 keys aligned to absolute positions. A lane scores one key of the tile; then the
// lanes share out head_dim and add up the values key by key. Masked keys are never read.

#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/element.cuh"
#include "kernels/cuda/kv_layout.cuh"
#include "kernels/cuda/launch.cuh"

namespace conclave::device::cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kTile = 32;
constexpr int kMaxHeadDim = 512;

template <typename T, int kPerLane>
__global__ void __launch_bounds__(kWarps * 32) any_shape_attention_kernel(AttentionCall call) {
  wait_for_predecessor();
  const AttentionShape& shape = call.shape;
  const int32_t t = blockIdx.x;
  const int32_t head = blockIdx.y * kWarps + threadIdx.x / 32;
  const int32_t lane = threadIdx.x % 32;
  if (t >= actual_rows(call.batch.rows) || head >= shape.heads) return;
  const AttentionRow row = call.batch.row[t];
  if (row.position < 0) return;
  const int32_t d = shape.head_dim;
  const int32_t kv_head = head / (shape.heads / shape.kv_heads);
  const T* q = static_cast<const T*>(call.q) + (int64_t{t} * shape.heads + head) * d;
  const int32_t* blocks = call.batch.block_ids + row.block_table;
  const auto vector = [&](int32_t key, bool value) {
    const char* block = static_cast<const char*>(call.kv.data) +
                        blocks[key / kKvTokens] * call.kv.block_stride_bytes;
    return reinterpret_cast<const T*>(block) + kv_offset(d, kv_head, value, key % kKvTokens);
  };
  const int32_t first =
      shape.sliding_window > 0 ? max(0, row.position - shape.sliding_window + 1) : 0;
  float max = -INFINITY, sum = 0;
  float out[kPerLane] = {};
  for (int32_t tile = first / kTile * kTile; tile <= row.position; tile += kTile) {
    const int32_t key = tile + lane;
    const bool visible = key >= first && key <= row.position;
    float score = -INFINITY;
    if (visible) {
      const T* k = vector(key, false);
      float dot = 0;
      for (int32_t i = 0; i < d; ++i) dot = fmaf(to_float(q[i]), to_float(k[i]), dot);
      score = dot * shape.scale;
    }
    const float new_max = fmaxf(max, warp_max(score));
    const float factor = expf(max - new_max);
    const float p = visible ? rounded<T>(expf(score - new_max)) : 0.0f;
    sum = fmaf(sum, factor, warp_sum(p));
    max = new_max;
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) out[i] *= factor;
    const int32_t begin = ::max(tile, first), end = min(tile + kTile, row.position + 1);
    for (int32_t j = begin; j < end; ++j) {
      const float weight = __shfl_sync(~0u, p, j - tile);
      const T* v = vector(j, true);
#pragma unroll
      for (int i = 0; i < kPerLane; ++i) {
        if (lane + i * 32 < d) out[i] = fmaf(weight, to_float(v[lane + i * 32]), out[i]);
      }
    }
  }
  T* to = static_cast<T*>(call.out) + (int64_t{t} * shape.heads + head) * d;
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    if (lane + i * 32 < d) to[lane + i * 32] = from_float<T>(out[i] / sum);
  }
}

template <typename T>
cudaError_t run(const AttentionCall& call, cudaStream_t stream) {
  const dim3 grid(call.batch.rows.bound, (call.shape.heads + kWarps - 1) / kWarps);
  const dim3 block(kWarps * 32);
  if (call.shape.head_dim <= 64)
    return start(any_shape_attention_kernel<T, 2>, grid, block, 0, stream, call);
  if (call.shape.head_dim <= 128)
    return start(any_shape_attention_kernel<T, 4>, grid, block, 0, stream, call);
  return start(any_shape_attention_kernel<T, kMaxHeadDim / 32>, grid, block, 0, stream, call);
}

}  // namespace

cudaError_t attention_any_shape(const AttentionCall& call, int32_t compute_type,
                                cudaStream_t stream) {
  return compute_type == kComputeF32 ? run<float>(call, stream) : run<bf16>(call, stream);
}

Status supports_attention(Context*, const AttentionShape* shape) {
  if (shape->heads < 1 || shape->kv_heads < 1 || shape->heads % shape->kv_heads != 0) {
    return fail(kInvalidArgument,
                "attention: %d query heads cannot share %d key/value heads; the first must be a "
                "positive multiple of the second",
                shape->heads, shape->kv_heads);
  }
  if (shape->head_dim < 1 || shape->rotary_dim < 0 || shape->rotary_dim > shape->head_dim ||
      shape->rotary_dim % 2 != 0) {
    return fail(kInvalidArgument,
                "attention: head_dim %d must be positive and rotary_dim %d even and at most that",
                shape->head_dim, shape->rotary_dim);
  }
  if (shape->head_dim > kMaxHeadDim) {
    return fail(kUnimplemented, "attention: head_dim %d is larger than the supported %d",
                shape->head_dim, kMaxHeadDim);
  }
  if (shape->sliding_window < 0 || !(shape->scale == shape->scale) || !(shape->clip >= 0)) {
    return fail(kInvalidArgument,
                "attention: sliding_window and clip must not be negative and scale must be finite");
  }
  return kOk;
}

Status attention(Context* context, Stream* stream, const AttentionShape* shape,
                 const AttentionBatch* batch, const void* q, const KvLayer* kv, void* out) {
  if (batch->rows.bound == 0) return kOk;
  const AttentionCall call{*shape, *batch, q, *kv, out};
  if (attention_on_tensor_cores(*shape, context->compute_type)) {
    const Status split =
        check(attention_split(call, *context->scratch, context->machine.multiprocessors, native(stream)),
              "attention over split keys");
    return split != kOk ? split : check(attention_tiled(call, native(stream)), "tiled attention");
  }
  return check(attention_any_shape(call, context->compute_type, native(stream)), "attention");
}

Status append_attention(Context* context, Stream* stream, const AttentionShape* shape,
                        const AttentionParameters* parameters, const AttentionBatch* batch,
                        float* qkv, const KvLayer* kv, void* q, void* out) {
  if (batch->rows.bound == 0) return kOk;
  if (context->machine.tuning.append != 0 &&
      split_can_append(*shape, context->compute_type, batch->max_chunk_rows)) {
    const AttentionCall call{*shape, *batch, nullptr, *kv, out, qkv, *parameters};
    return check(attention_split_appending(call, *context->scratch,
                                           context->machine.multiprocessors, native(stream)),
                 "append and attention");
  }
  const Status status = append_kv(context, stream, shape, parameters, batch, qkv, kv, q);
  return status != kOk ? status : attention(context, stream, shape, batch, q, kv, out);
}

}  // namespace conclave::device::cuda
