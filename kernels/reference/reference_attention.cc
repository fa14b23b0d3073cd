#include "kernels/reference/reference_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/element.h"

namespace conclave::kernels::reference {
namespace {

// Where one vector of head_dim elements of K or V lies in the cache.
struct CacheSlot {
  std::byte* block;
  int64_t first;  // element index inside the block
};

CacheSlot slot(const AttentionShape& shape, const AttentionBatch& batch, const AttentionRow& row,
               int32_t position, const KvLayerView& kv, int32_t kv_head, bool value) {
  const int32_t block =
      batch.block_ids[static_cast<size_t>(row.block_table + position / kKvBlockTokens)];
  const int64_t token = position % kKvBlockTokens;
  const int64_t head = kv_head + (value ? shape.kv_heads : 0);
  return {kv.data + block * kv.block_stride_bytes,
          (token * 2 * shape.kv_heads + head) * shape.head_dim};
}

void normalize(float* x, const float* weight, int64_t n, float eps) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  const double inverse = 1.0 / std::sqrt(sum / static_cast<double>(n) + static_cast<double>(eps));
  for (int64_t i = 0; i < n; ++i) {
    x[i] = static_cast<float>(static_cast<double>(x[i]) * inverse * static_cast<double>(weight[i]));
  }
}

void normalize_heads(const AttentionShape& shape, float* x, const float* weight, int32_t heads) {
  if (weight == nullptr || shape.qk_norm == QkNorm::kNone) return;
  if (shape.qk_norm == QkNorm::kFullWidth) {
    normalize(x, weight, int64_t{heads} * shape.head_dim, shape.norm_eps);
    return;
  }
  for (int32_t h = 0; h < heads; ++h) {
    normalize(x + int64_t{h} * shape.head_dim, weight, shape.head_dim, shape.norm_eps);
  }
}

void clamp(float* x, int64_t n, float clip) {
  if (clip <= 0) return;
  for (int64_t i = 0; i < n; ++i) x[i] = std::clamp(x[i], -clip, clip);
}

// Half layout: pairs (i, i + rotary_dim / 2). The angle is float32, as models are trained with.
void rotate(const AttentionShape& shape, const AttentionParameters& parameters, float* x,
            int32_t heads, int32_t position) {
  const int32_t half = shape.rotary_dim / 2;
  for (int32_t i = 0; i < half; ++i) {
    const float angle = static_cast<float>(position) * parameters.inverse_freq[i];
    const double factor = static_cast<double>(parameters.attention_factor);
    const double c = std::cos(static_cast<double>(angle)) * factor;
    const double s = std::sin(static_cast<double>(angle)) * factor;
    for (int32_t h = 0; h < heads; ++h) {
      float* head = x + int64_t{h} * shape.head_dim;
      const double a = static_cast<double>(head[i]);
      const double b = static_cast<double>(head[i + half]);
      head[i] = static_cast<float>(a * c - b * s);
      head[i + half] = static_cast<float>(b * c + a * s);
    }
  }
}

// One query head of one row against keys [first, position].
void attend(const AttentionShape& shape, const AttentionBatch& batch, const AttentionRow& row,
            const float* q, int32_t kv_head, const KvLayerView& kv, DType act, double* out) {
  const int32_t first =
      shape.sliding_window > 0 ? std::max(0, row.position - shape.sliding_window + 1) : 0;
  std::vector<double> scores;
  double max = -std::numeric_limits<double>::infinity();
  for (int32_t j = first; j <= row.position; ++j) {
    const CacheSlot key = slot(shape, batch, row, j, kv, kv_head, false);
    double dot = 0;
    for (int32_t d = 0; d < shape.head_dim; ++d) {
      dot += static_cast<double>(q[d]) *
             static_cast<double>(load_element(key.block, act, key.first + d));
    }
    scores.push_back(dot * static_cast<double>(shape.scale));
    max = std::max(max, scores.back());
  }
  double sum = 0;
  std::fill_n(out, shape.head_dim, 0.0);
  for (int32_t j = first; j <= row.position; ++j) {
    const double p = std::exp(scores[static_cast<size_t>(j - first)] - max);
    sum += p;
    const CacheSlot value = slot(shape, batch, row, j, kv, kv_head, true);
    for (int32_t d = 0; d < shape.head_dim; ++d) {
      out[d] += p * static_cast<double>(load_element(value.block, act, value.first + d));
    }
  }
  for (int32_t d = 0; d < shape.head_dim; ++d) out[d] /= sum;
}

}  // namespace

size_t kv_block_bytes(const AttentionShape& shape, DType act) {
  return static_cast<size_t>(kKvBlockTokens) * 2 * static_cast<size_t>(shape.kv_heads) *
         static_cast<size_t>(shape.head_dim) * dtype_bytes(act);
}

void append_kv(const AttentionShape& shape, const AttentionParameters& parameters,
               const AttentionBatch& batch, const MatrixView& qkv, const KvLayerView& kv,
               const MatrixView& q_out) {
  const int64_t q_width = int64_t{shape.heads} * shape.head_dim;
  const int64_t kv_width = int64_t{shape.kv_heads} * shape.head_dim;
  for (int64_t t = 0; t < qkv.rows; ++t) {
    const AttentionRow& row = batch.rows[static_cast<size_t>(t)];
    float* q = static_cast<float*>(qkv.data) + t * qkv.stride;
    float* k = q + q_width;
    const float* v = k + kv_width;
    normalize_heads(shape, q, parameters.q_norm, shape.heads);
    normalize_heads(shape, k, parameters.k_norm, shape.kv_heads);
    clamp(q, q_width + 2 * kv_width, shape.clip);
    rotate(shape, parameters, q, shape.heads, row.position);
    rotate(shape, parameters, k, shape.kv_heads, row.position);
    for (int64_t i = 0; i < q_width; ++i)
      store_element(q_out.data, q_out.dtype, t * q_out.stride + i, q[i]);
    for (int32_t h = 0; h < shape.kv_heads; ++h) {
      const CacheSlot key = slot(shape, batch, row, row.position, kv, h, false);
      const CacheSlot value = slot(shape, batch, row, row.position, kv, h, true);
      for (int32_t d = 0; d < shape.head_dim; ++d) {
        const int64_t i = int64_t{h} * shape.head_dim + d;
        store_element(key.block, q_out.dtype, key.first + d, k[i]);
        store_element(value.block, q_out.dtype, value.first + d, v[i]);
      }
    }
  }
}

void attention(const AttentionShape& shape, const AttentionBatch& batch, const ConstMatrixView& q,
               const KvLayerView& kv, const MatrixView& out) {
  const int32_t group = shape.heads / shape.kv_heads;
  std::vector<float> query(static_cast<size_t>(shape.head_dim));
  std::vector<double> result(static_cast<size_t>(shape.head_dim));
  for (int64_t t = 0; t < q.rows; ++t) {
    for (int32_t h = 0; h < shape.heads; ++h) {
      const int64_t first = int64_t{h} * shape.head_dim;
      for (int32_t d = 0; d < shape.head_dim; ++d) {
        query[static_cast<size_t>(d)] = load_element(q.data, q.dtype, t * q.stride + first + d);
      }
      attend(shape, batch, batch.rows[static_cast<size_t>(t)], query.data(), h / group, kv, q.dtype,
             result.data());
      for (int32_t d = 0; d < shape.head_dim; ++d) {
        store_element(out.data, out.dtype, t * out.stride + first + d,
                      static_cast<float>(result[static_cast<size_t>(d)]));
      }
    }
  }
}

}  // namespace conclave::kernels::reference
