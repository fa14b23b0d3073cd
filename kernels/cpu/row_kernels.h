#ifndef CONCLAVE_KERNELS_CPU_ROW_KERNELS_H_
#define CONCLAVE_KERNELS_CPU_ROW_KERNELS_H_

// Kernels that work on one row or one tile of rows: packing and epilogues of the matrix product,
// norms, rope and cache append, routing, combine.

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/vector_math.h"

namespace conclave::kernels::cpu {

template <class S>
void pack_rows(const PackRows& args) {
  const auto element_bytes = static_cast<int64_t>(args.dtype == DType::kF32 ? 4 : 2);
  for (int r = 0; r < args.rows; ++r) {
    const int64_t number = args.index != nullptr ? args.index[r] : r;
    const std::byte* row =
        static_cast<const std::byte*>(args.x) + number * args.stride * element_bytes;
    float* out = args.out + r;
    const int64_t rows = args.rows;
    for_each_vector<S>(args.k, [&](int64_t at, int n) CONCLAVE_LAMBDA_INLINE {
      float lanes[S::kLanes];
      S::store(lanes, load_act_partial<S>(row, args.dtype, at, n));
      for (int i = 0; i < n; ++i) out[(at + i) * rows] = lanes[i];
    });
  }
}

template <class S>
void store_tile(const StoreTile& args) {
  const auto element_bytes = static_cast<int64_t>(args.dtype == DType::kF32 ? 4 : 2);
  for (int r = 0; r < args.rows; ++r) {
    const float* c = args.c + r * kPanelRows;
    const int64_t number = args.index != nullptr ? args.index[r] : r;
    std::byte* row = static_cast<std::byte*>(args.out) + number * args.stride * element_bytes;
    for_each_vector<S>(args.columns, [&](int64_t at, int n) CONCLAVE_LAMBDA_INLINE {
      typename S::F value = S::load(c + at);
      if (args.bias != nullptr) value = S::add(value, S::load_partial(args.bias + at, n));
      store_act_partial<S>(row, args.dtype, at, value, n);
    });
  }
}

template <class S>
void swiglu_tile(const SwigluTile& args) {
  for (int r = 0; r < args.rows; ++r) {
    const float* gates = args.c + r * kPanelRows;
    for_each_vector<S>(args.columns, [&](int64_t at, int n) CONCLAVE_LAMBDA_INLINE {
      const typename S::F gate = S::load(gates + at);
      const typename S::F up = S::load(gates + 16 + at);
      const typename S::F value = S::mul(S::mul(gate, vector_sigmoid<S>(gate)), up);
      float lanes[S::kLanes];
      S::store(lanes, round_act<S>(value, args.act));
      for (int i = 0; i < n; ++i) args.out[(at + i) * args.rows + r] = lanes[i];
    });
  }
}

// 1 / rms(x). Four partial vectors, then their lanes: an order that n alone determines.
template <class S>
CONCLAVE_FORCE_INLINE float inverse_rms(const float* x, int64_t n, float eps) {
  typename S::F sum[4] = {S::zero(), S::zero(), S::zero(), S::zero()};
  int64_t at = 0;
  for (; at + 4 * S::kLanes <= n; at += 4 * S::kLanes) {
    CONCLAVE_UNROLL
    for (int i = 0; i < 4; ++i) {
      const typename S::F value = S::load(x + at + i * S::kLanes);
      sum[i] = S::fma(value, value, sum[i]);
    }
  }
  for (; at < n; at += S::kLanes) {
    const int left = static_cast<int>(n - at < S::kLanes ? n - at : S::kLanes);
    const typename S::F value = S::load_partial(x + at, left);
    sum[0] = S::fma(value, value, sum[0]);
  }
  const float total = sum_lanes<S>(S::add(S::add(sum[0], sum[1]), S::add(sum[2], sum[3])));
  return 1.0f / __builtin_sqrtf(total / static_cast<float>(n) + eps);
}

template <class S>
void norm_row(const float* x, const float* weight, float eps, int64_t n, void* out, DType dtype) {
  const typename S::F inverse = S::set1(inverse_rms<S>(x, n, eps));
  for_each_vector<S>(n, [&](int64_t at, int left) CONCLAVE_LAMBDA_INLINE {
    const typename S::F value = S::mul(S::load_partial(x + at, left), inverse);
    store_act_partial<S>(out, dtype, at, S::mul(value, S::load_partial(weight + at, left)), left);
  });
}

template <class S>
CONCLAVE_FORCE_INLINE void norm_heads(const AttentionShape& shape, float* x, const float* weight,
                                      int32_t heads) {
  if (weight == nullptr || shape.qk_norm == QkNorm::kNone) return;
  if (shape.qk_norm == QkNorm::kFullWidth) {
    norm_row<S>(x, weight, shape.norm_eps, int64_t{heads} * shape.head_dim, x, DType::kF32);
    return;
  }
  for (int32_t h = 0; h < heads; ++h) {
    float* head = x + int64_t{h} * shape.head_dim;
    norm_row<S>(head, weight, shape.norm_eps, shape.head_dim, head, DType::kF32);
  }
}

template <class S>
CONCLAVE_FORCE_INLINE void clip_values(float* x, int64_t count, float clip) {
  if (clip <= 0) return;
  const typename S::F high = S::set1(clip);
  const typename S::F low = S::set1(-clip);
  for_each_vector<S>(count, [&](int64_t at, int n) CONCLAVE_LAMBDA_INLINE {
    S::store_partial(x + at, S::min(high, S::max(low, S::load_partial(x + at, n))), n);
  });
}

// Half layout: pairs (i, i + half).
template <class S>
CONCLAVE_FORCE_INLINE void rotate_head(float* head, const float* cosines, const float* sines,
                                       int32_t half) {
  for_each_vector<S>(half, [&](int64_t at, int n) CONCLAVE_LAMBDA_INLINE {
    const typename S::F a = S::load_partial(head + at, n);
    const typename S::F b = S::load_partial(head + half + at, n);
    const typename S::F c = S::load_partial(cosines + at, n);
    const typename S::F s = S::load_partial(sines + at, n);
    S::store_partial(head + at, S::sub(S::mul(a, c), S::mul(b, s)), n);
    S::store_partial(head + half + at, S::add(S::mul(b, c), S::mul(a, s)), n);
  });
}

template <class S>
CONCLAVE_FORCE_INLINE void write_cache(const AppendRow& args, const float* k, const float* v) {
  const AttentionShape& shape = *args.shape;
  const int64_t token = args.position % kKvBlockTokens;
  const int64_t padded = padded_head_dim(shape.head_dim);
  for (int32_t h = 0; h < shape.kv_heads; ++h) {
    std::byte* head = args.block + h * head_bytes(shape, args.act);
    std::byte* value = head + value_offset_bytes(shape, args.act);
    for_each_vector<S>(padded, [&](int64_t at, int) CONCLAVE_LAMBDA_INLINE {
      const int64_t left = shape.head_dim - at;
      const int n = static_cast<int>(left < 0 ? 0 : left < S::kLanes ? left : S::kLanes);
      const int64_t from = int64_t{h} * shape.head_dim + at;
      store_act_partial<S>(value, args.act, token * padded + at, S::load_partial(v + from, n),
                           S::kLanes);
      float lanes[S::kLanes];
      uint16_t halves[S::kLanes];
      const typename S::F key = S::load_partial(k + from, n);
      S::store(lanes, key);
      S::store_bf16(halves, key);
      for (int i = 0; i < n; ++i) {
        const int64_t to = (at + i) * kKvBlockTokens + token;
        if (args.act == DType::kF32) {
          reinterpret_cast<float*>(head)[to] = lanes[i];
        } else {
          reinterpret_cast<uint16_t*>(head)[to] = halves[i];
        }
      }
    });
  }
}

template <class S>
void append_row(const AppendRow& args) {
  const AttentionShape& shape = *args.shape;
  const AttentionParameters& parameters = *args.parameters;
  const int64_t q_width = int64_t{shape.heads} * shape.head_dim;
  const int64_t kv_width = int64_t{shape.kv_heads} * shape.head_dim;
  float* q = args.qkv;
  float* k = q + q_width;
  norm_heads<S>(shape, q, parameters.q_norm, shape.heads);
  norm_heads<S>(shape, k, parameters.k_norm, shape.kv_heads);
  clip_values<S>(q, q_width + 2 * kv_width, shape.clip);
  const int32_t half = shape.rotary_dim / 2;
  float* cosines = args.scratch;
  float* sines = args.scratch + kMaxHeadDimension / 2;
  for (int32_t i = 0; i < half; ++i) {
    float s, c;
    sine_cosine<S>(static_cast<float>(args.position) * parameters.inverse_freq[i], s, c);
    sines[i] = s * parameters.attention_factor;
    cosines[i] = c * parameters.attention_factor;
  }
  for (int32_t h = 0; h < shape.heads + shape.kv_heads; ++h) {
    rotate_head<S>(q + int64_t{h} * shape.head_dim, cosines, sines, half);
  }
  for_each_vector<S>(q_width, [&](int64_t at, int n) CONCLAVE_LAMBDA_INLINE {
    store_act_partial<S>(args.q_out, args.act, at, S::load_partial(q + at, n), n);
  });
  write_cache<S>(args, k, k + kv_width);
}

// Chooses by logit, so that probabilities that round to the same float do not make false ties. NaN
// counts as -infinity in the choice; it shows in the weights.
template <class S>
void route_row(const RouterShape& shape, const float* logits, int32_t* ids, float* weights) {
  const float lowest = -__builtin_inff();
  float best[64];  // sorted, best first; ids[] is kept beside it
  int32_t count = 0;
  for (int32_t e = 0; e < shape.experts; ++e) {
    const float logit = logits[e] == logits[e] ? logits[e] : lowest;
    if (count == shape.top_k && !(logit > best[count - 1])) continue;
    int32_t at = count < shape.top_k ? count++ : count - 1;
    for (; at > 0 && logit > best[at - 1]; --at) {
      best[at] = best[at - 1];
      ids[at] = ids[at - 1];
    }
    best[at] = logit;
    ids[at] = e;
  }
  const typename S::F max = S::set1(best[0]);
  for (int32_t i = 1; i < count; ++i) {
    const int32_t id = ids[i];
    int32_t at = i;
    for (; at > 0 && ids[at - 1] > id; --at) ids[at] = ids[at - 1];
    ids[at] = id;
  }
  typename S::F sum = S::zero();
  if (shape.normalize_top_k) {
    for (int32_t i = 0; i < count; ++i) {
      weights[i] = logits[ids[i]];
    }
  }
  const float* terms = shape.normalize_top_k ? weights : logits;
  for_each_vector<S>(
      shape.normalize_top_k ? count : shape.experts, [&](int64_t at, int n) CONCLAVE_LAMBDA_INLINE {
        const typename S::F value = vector_exp<S>(S::sub(S::load_partial(terms + at, n), max));
        sum = S::add(sum, S::keep_range(value, 0, n, S::zero()));
      });
  const float total = sum_lanes<S>(sum);
  for (int32_t i = 0; i < count; ++i) {
    weights[i] = first_lane<S>(vector_exp<S>(S::sub(S::set1(logits[ids[i]]), max))) / total;
  }
}

template <class S>
void combine_row(const CombineRow& args) {
  const CombineInput& input = *args.input;
  const int64_t first = args.row * input.top_k;
  typename S::F shared_scale = S::set1(1.0f);
  if (input.shared_gate != nullptr)
    shared_scale = vector_sigmoid<S>(S::set1(input.shared_gate[args.row]));
  const int32_t* source_of = input.source_of.data() + first;
  const int32_t* row_of = input.row_of.data() + first;
  const float* weights = input.weights.data() + first;
  const ConstMatrixView* sources = input.sources.data();
  for_each_vector<S>(args.end - args.begin, [&](int64_t offset, int n) CONCLAVE_LAMBDA_INLINE {
    const int64_t at = args.begin + offset;
    typename S::F sum = S::zero();
    for (int32_t j = 0; j < input.top_k; ++j) {
      const ConstMatrixView& source = sources[source_of[j]];
      const typename S::F value =
          load_act_partial<S>(source.data, source.dtype, row_of[j] * source.stride + at, n);
      sum = S::fma(S::set1(weights[j]), value, sum);
    }
    if (input.shared.data != nullptr) {
      const typename S::F value = load_act_partial<S>(input.shared.data, input.shared.dtype,
                                                      args.row * input.shared.stride + at, n);
      sum = S::fma(shared_scale, value, sum);
    }
    S::store_partial(args.out + at, sum, n);
  });
}

template <class S>
void add_row(float* r, const float* a, int64_t count) {
  for_each_vector<S>(count, [&](int64_t at, int n) CONCLAVE_LAMBDA_INLINE {
    S::store_partial(r + at, S::add(S::load_partial(r + at, n), S::load_partial(a + at, n)), n);
  });
}

template <class S>
void widen_row(const void* x, DType dtype, int64_t count, float* out) {
  for_each_vector<S>(count, [&](int64_t at, int n) CONCLAVE_LAMBDA_INLINE {
    S::store_partial(out + at, load_act_partial<S>(x, dtype, at, n), n);
  });
}

}  // namespace conclave::kernels::cpu

#endif  // CONCLAVE_KERNELS_CPU_ROW_KERNELS_H_
