#ifndef CONCLAVE_KERNELS_CPU_ATTENTION_TILE_H_
#define CONCLAVE_KERNELS_CPU_ATTENTION_TILE_H_

// Paged causal attention with an online softmax (Milakov and Gimelshein, "Online normalizer
// calculation for softmax", 2018), for up to 32 queries that share a K/V head and a sequence.
//
// Law 1: keys are taken 64 at a time, in tiles that begin at multiples of 64 of the absolute
// position. What a query computes depends on its own position and window only: each score is one
// chain over head_dim, the running maximum changes at tile borders, the output is one chain over
// keys. Sharing a tile with other queries only shares loads. Keys a query may not see are never
// read as values and their scores are replaced before use, so that garbage there (even NaN)
// contributes exactly nothing.

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/vector_math.h"

namespace conclave::kernels::cpu {

template <class S>
struct AttentionState {
  const AttentionTile& args;
  int64_t padded;  // head_dim rounded up to 16
  int64_t group;   // query heads per K/V head
  int64_t head_offset;
  int64_t value_offset;
  float* q;            // [queries][padded]
  float* sum;          // [queries][padded]
  float* scores;       // [queries][64], later the unnormalised probabilities
  float* denominator;  // [queries][16]
  float max[kQueryTile];
  int32_t first_key[kQueryTile];  // visible keys are [first_key, end_key)
  int32_t end_key[kQueryTile];
  int begin[kQueryTile];  // the same within the current key tile, 0..64
  int end[kQueryTile];

  CONCLAVE_FORCE_INLINE const std::byte* head_of_block(int64_t block_index) const {
    return args.kv->data + args.blocks[block_index] * args.kv->block_stride_bytes + head_offset;
  }
};

template <class S, bool kBf16>
CONCLAVE_FORCE_INLINE typename S::F load_kv(const std::byte* base, int64_t element) {
  if constexpr (kBf16) {
    return S::load_bf16(base + element * 2);
  } else {
    return S::load(reinterpret_cast<const float*>(base) + element);
  }
}

// Scores of N queries against B consecutive blocks of 16 keys.
template <class S, bool kBf16, int N, int B>
CONCLAVE_FORCE_INLINE void score_blocks(const AttentionState<S>& state, int query, int64_t tile,
                                        int block) {
  constexpr int kRegisters = 16 / S::kLanes;
  typename S::F sum[B][kRegisters][N];
  const std::byte* keys[B];
  CONCLAVE_UNROLL
  for (int b = 0; b < B; ++b) {
    keys[b] = state.head_of_block(tile * 4 + block + b);
    CONCLAVE_UNROLL
    for (int r = 0; r < kRegisters; ++r) {
      CONCLAVE_UNROLL
      for (int n = 0; n < N; ++n) sum[b][r][n] = S::zero();
    }
  }
  const float* q = state.q + query * state.padded;
  const int32_t head_dim = state.args.shape->head_dim;
  for (int32_t d = 0; d < head_dim; ++d) {
    CONCLAVE_UNROLL
    for (int b = 0; b < B; ++b) {
      CONCLAVE_UNROLL
      for (int r = 0; r < kRegisters; ++r) {
        const typename S::F key = load_kv<S, kBf16>(keys[b], d * 16 + r * S::kLanes);
        CONCLAVE_UNROLL
        for (int n = 0; n < N; ++n) {
          sum[b][r][n] = S::fma(key, S::set1(q[n * state.padded + d]), sum[b][r][n]);
        }
      }
    }
  }
  CONCLAVE_UNROLL
  for (int b = 0; b < B; ++b) {
    CONCLAVE_UNROLL
    for (int r = 0; r < kRegisters; ++r) {
      CONCLAVE_UNROLL
      for (int n = 0; n < N; ++n) {
        S::store(state.scores + (query + n) * kKeyTile + (block + b) * 16 + r * S::kLanes,
                 sum[b][r][n]);
      }
    }
  }
}

template <class S, int N>
constexpr int blocks_at_once() {
  int blocks = 4;
  while (blocks > 1 && blocks * N * (16 / S::kLanes) > S::kAccumulators) blocks /= 2;
  return blocks;
}

template <class S, bool kBf16, int N>
CONCLAVE_FORCE_INLINE void score_queries(const AttentionState<S>& state, int query, int64_t tile) {
  int low = kKeyTile;
  int high = 0;
  for (int n = query; n < query + N; ++n) {
    if (state.begin[n] >= state.end[n]) continue;
    low = state.begin[n] < low ? state.begin[n] : low;
    high = state.end[n] > high ? state.end[n] : high;
  }
  constexpr int kBlocks = blocks_at_once<S, N>();
  int block = low / 16;
  const int end = (high + 15) / 16;
  for (; block + kBlocks <= end; block += kBlocks)
    score_blocks<S, kBf16, N, kBlocks>(state, query, tile, block);
  if constexpr (kBlocks > 1) {
    for (; block < end; ++block) score_blocks<S, kBf16, N, 1>(state, query, tile, block);
  }
}

// Scores of one query to probabilities relative to the running maximum.
template <class S>
CONCLAVE_FORCE_INLINE void soften(AttentionState<S>& state, int query) {
  using F = typename S::F;
  constexpr int kLanes = S::kLanes;
  float* scores = state.scores + query * kKeyTile;
  const int begin = state.begin[query];
  const int end = state.end[query];
  const F hidden = S::set1(-__builtin_inff());
  const F scale = S::set1(state.args.shape->scale);
  F best = hidden;
  const int first = begin / kLanes * kLanes;
  for (int at = first; at < end; at += kLanes) {
    const int from = begin > at ? begin - at : 0;
    const int to = end - at < kLanes ? end - at : kLanes;
    const F score = S::keep_range(S::mul(S::load(scores + at), scale), from, to, hidden);
    S::store(scores + at, score);
    best = S::max(best, score);
  }
  const float old_max = state.max[query];
  const float tile_max = max_lane<S>(best);
  const float new_max = tile_max > old_max ? tile_max : old_max;
  float* denominator = state.denominator + query * 16;
  if (new_max != old_max) {
    const F shrink = vector_exp<S>(S::sub(S::set1(old_max), S::set1(new_max)));
    for (int at = 0; at < 16; at += kLanes)
      S::store(denominator + at, S::mul(S::load(denominator + at), shrink));
    float* sum = state.sum + query * state.padded;
    for (int64_t at = 0; at < state.padded; at += kLanes)
      S::store(sum + at, S::mul(S::load(sum + at), shrink));
    state.max[query] = new_max;
  }
  const F max = S::set1(new_max);
  for (int at = first; at < end; at += kLanes) {
    const F p = round_act<S>(vector_exp<S>(S::sub(S::load(scores + at), max)), state.args.act);
    S::store(scores + at, p);
    S::store(denominator + at % 16, S::add(S::load(denominator + at % 16), p));
  }
}

// sum[n] += p[n][key] * V[key] for keys [begin, end) of the tile, D columns from `column`.
template <class S, bool kBf16, int N, int D>
CONCLAVE_FORCE_INLINE void add_values(const AttentionState<S>& state, int query, int64_t tile,
                                      int begin, int end, int64_t column) {
  constexpr int kRegisters = D / S::kLanes;
  typename S::F sum[kRegisters][N];
  float* out = state.sum + query * state.padded + column;
  CONCLAVE_UNROLL
  for (int r = 0; r < kRegisters; ++r) {
    CONCLAVE_UNROLL
    for (int n = 0; n < N; ++n) sum[r][n] = S::load(out + n * state.padded + r * S::kLanes);
  }
  const float* p = state.scores + query * kKeyTile;
  for (int block = begin / 16; block * 16 < end; ++block) {
    const std::byte* values = state.head_of_block(tile * 4 + block) + state.value_offset;
    const int from = block * 16 > begin ? block * 16 : begin;
    const int to = block * 16 + 16 < end ? block * 16 + 16 : end;
    for (int key = from; key < to; ++key) {
      CONCLAVE_UNROLL
      for (int r = 0; r < kRegisters; ++r) {
        const typename S::F value =
            load_kv<S, kBf16>(values, (key - block * 16) * state.padded + column + r * S::kLanes);
        CONCLAVE_UNROLL
        for (int n = 0; n < N; ++n) {
          sum[r][n] = S::fma(S::set1(p[n * kKeyTile + key]), value, sum[r][n]);
        }
      }
    }
  }
  CONCLAVE_UNROLL
  for (int r = 0; r < kRegisters; ++r) {
    CONCLAVE_UNROLL
    for (int n = 0; n < N; ++n) S::store(out + n * state.padded + r * S::kLanes, sum[r][n]);
  }
}

template <class S, int N>
constexpr int columns_at_once() {
  int columns = 128;
  while (columns > 16 && columns / S::kLanes * N > S::kAccumulators) columns /= 2;
  return columns;
}

template <class S, bool kBf16, int N>
CONCLAVE_FORCE_INLINE void add_value_range(const AttentionState<S>& state, int query, int64_t tile,
                                           int begin, int end) {
  if (begin >= end) return;
  constexpr int kColumns = columns_at_once<S, N>();
  int64_t column = 0;
  for (; column + kColumns <= state.padded; column += kColumns) {
    add_values<S, kBf16, N, kColumns>(state, query, tile, begin, end, column);
  }
  if constexpr (kColumns > 16) {
    for (; column < state.padded; column += 16) {
      add_values<S, kBf16, N, 16>(state, query, tile, begin, end, column);
    }
  }
}

// Keys that all N queries see are read once for all; the ragged ends are done query by query, so
// that each chain stays in ascending key order.
template <class S, bool kBf16, int N>
void value_queries(const AttentionState<S>& state, int query, int64_t tile) {
  int common_begin = 0;
  int common_end = kKeyTile;
  for (int n = query; n < query + N; ++n) {
    common_begin = state.begin[n] > common_begin ? state.begin[n] : common_begin;
    common_end = state.end[n] < common_end ? state.end[n] : common_end;
  }
  if (common_begin >= common_end) common_begin = common_end = kKeyTile;
  for (int n = query; n < query + N; ++n) {
    const int end = state.end[n] < common_begin ? state.end[n] : common_begin;
    add_value_range<S, kBf16, 1>(state, n, tile, state.begin[n], end);
  }
  add_value_range<S, kBf16, N>(state, query, tile, common_begin, common_end);
  for (int n = query; n < query + N; ++n) {
    const int begin = state.begin[n] > common_end ? state.begin[n] : common_end;
    add_value_range<S, kBf16, 1>(state, n, tile, begin, state.end[n]);
  }
}

template <class S, bool kBf16, int N>
void process_queries(AttentionState<S>& state, int query, int64_t tile) {
  score_queries<S, kBf16, N>(state, query, tile);
  for (int n = query; n < query + N; ++n) {
    if (state.begin[n] < state.end[n]) soften<S>(state, n);
  }
  value_queries<S, kBf16, N>(state, query, tile);
}

template <class S, bool kBf16>
CONCLAVE_FORCE_INLINE void process_tile(AttentionState<S>& state, int64_t tile) {
  const int32_t base = static_cast<int32_t>(tile * kKeyTile);
  const int queries = state.args.queries;
  for (int i = 0; i < queries; ++i) {
    const int32_t begin = state.first_key[i] - base;
    const int32_t end = state.end_key[i] - base;
    state.begin[i] = begin < 0 ? 0 : begin > kKeyTile ? kKeyTile : begin;
    state.end[i] = end < 0 ? 0 : end > kKeyTile ? kKeyTile : end;
  }
  int query = 0;
  for (; query + 4 <= queries; query += 4) process_queries<S, kBf16, 4>(state, query, tile);
  if (query + 2 <= queries) {
    process_queries<S, kBf16, 2>(state, query, tile);
    query += 2;
  }
  if (query < queries) process_queries<S, kBf16, 1>(state, query, tile);
}

template <class S>
CONCLAVE_FORCE_INLINE void begin_queries(AttentionState<S>& state) {
  const AttentionTile& args = state.args;
  const AttentionShape& shape = *args.shape;
  for (int i = 0; i < args.queries; ++i) {
    const int64_t row = (args.first_query + i) / state.group;
    const int64_t head = args.kv_head * state.group + (args.first_query + i) % state.group;
    const int32_t position = args.rows[row].position;
    const int32_t begin = shape.sliding_window > 0 ? position - shape.sliding_window + 1 : 0;
    state.first_key[i] = begin < 0 ? 0 : begin;
    state.end_key[i] = position + 1;
    state.max[i] = -__builtin_inff();
    const std::byte* q = args.q + row * args.q_stride_bytes;
    for (int64_t at = 0; at < state.padded; at += S::kLanes) {
      const int64_t left = shape.head_dim - at;
      const int n = static_cast<int>(left < 0 ? 0 : left < S::kLanes ? left : S::kLanes);
      const typename S::F value =
          n == 0 ? S::zero() : load_act_partial<S>(q, args.act, head * shape.head_dim + at, n);
      S::store(state.q + i * state.padded + at, value);
      S::store(state.sum + i * state.padded + at, S::zero());
    }
    for (int at = 0; at < 16; at += S::kLanes) S::store(state.denominator + i * 16 + at, S::zero());
  }
}

template <class S>
CONCLAVE_FORCE_INLINE void finish_queries(const AttentionState<S>& state) {
  const AttentionTile& args = state.args;
  const int64_t head_dim = args.shape->head_dim;
  for (int i = 0; i < args.queries; ++i) {
    const int64_t row = (args.first_query + i) / state.group;
    const int64_t head = args.kv_head * state.group + (args.first_query + i) % state.group;
    float total = 0;
    for (int lane = 0; lane < 16; ++lane) total += state.denominator[i * 16 + lane];
    const typename S::F scale = S::set1(1.0f / total);
    std::byte* out = args.out + row * args.out_stride_bytes;
    for_each_vector<S>(head_dim, [&](int64_t at, int n) CONCLAVE_LAMBDA_INLINE {
      const typename S::F value = S::mul(S::load(state.sum + i * state.padded + at), scale);
      store_act_partial<S>(out, args.act, head * head_dim + at, value, n);
    });
  }
}

template <class S>
void attention_tile(const AttentionTile& args) {
  const AttentionShape& shape = *args.shape;
  const int64_t padded = padded_head_dim(shape.head_dim);
  float* sum = args.scratch + kQueryTile * padded;
  float* scores = sum + kQueryTile * padded;
  AttentionState<S> state{args,
                          padded,
                          shape.heads / shape.kv_heads,
                          args.kv_head * head_bytes(shape, args.act),
                          value_offset_bytes(shape, args.act),
                          args.scratch,
                          sum,
                          scores,
                          scores + kQueryTile * kKeyTile,
                          {},
                          {},
                          {},
                          {},
                          {}};
  begin_queries<S>(state);
  int32_t first = state.first_key[0];
  int32_t end = 0;
  for (int i = 0; i < args.queries; ++i) {
    first = state.first_key[i] < first ? state.first_key[i] : first;
    end = state.end_key[i] > end ? state.end_key[i] : end;
  }
  for (int64_t tile = first / kKeyTile; tile * kKeyTile < end; ++tile) {
    if (args.act == DType::kBF16) {
      process_tile<S, true>(state, tile);
    } else {
      process_tile<S, false>(state, tile);
    }
  }
  finish_queries<S>(state);
}

}  // namespace conclave::kernels::cpu

#endif  // CONCLAVE_KERNELS_CPU_ATTENTION_TILE_H_
