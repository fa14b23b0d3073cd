// Sampling on the device: one block per row, or, for few rows, a cluster whose blocks look for the
// best token together, which is all that greedy rows need. Probability masses are 64-bit
// fixed-point integers (weight * 2^44), whose sums do not depend on the order of addition; a radix
// search over the bits of the logits finds the limits of top-k, top-p and the drawn token without
// sorting. The order of candidates is that of kernels/sampling.cc: larger logit first, then lower
// id.

#include <climits>

#include "kernels/cuda/element.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/scratch.h"
#include "kernels/device/cuda/ops.h"

namespace conclave::device::cuda {
namespace {

constexpr int kThreads = 1024;
constexpr int kWarps = kThreads / 32;
constexpr int kBins = 256;
constexpr int kTopLogprobs = 20;
constexpr int32_t kNoUsableLogits = -1;  // as in kernels/sampling.h
constexpr int kNear = 8192;            // candidates near the best that fit into shared memory
constexpr float kNearDistance = 8.0f;  // in logits over temperature
constexpr int kTogether = 8;           // blocks of a cluster
constexpr int kFewRows = 16;
using Mass = unsigned long long;

struct Best {
  float logit;
  int32_t token;  // INT_MAX: none
};

__device__ bool usable(const Best& best) {
  return best.token != INT_MAX && best.logit != INFINITY;
}

struct SharedState {
  Mass bins[kWarps][kBins];  // one histogram per warp: fewer collisions
  Mass warp_mass[kWarps];
  float warp_logit[kWarps];
  int32_t warp_id[kWarps];
  Mass found_before;
  int32_t found;
  int32_t near_count;
  Best of_block[kTogether];
  float near[kNear];  // logits, in no order
};

// Calls visit(logit, id) for every element of a row, 16 bytes at a time where it is aligned.
template <typename Visit>
__device__ void for_each(const float* logits, int32_t count, Visit visit) {
  int32_t done = 0;
  if ((reinterpret_cast<uintptr_t>(logits) & 15) == 0) {
    done = count / 4 * 4;
    const auto* wide = reinterpret_cast<const float4*>(logits);
#pragma unroll 4
    for (int32_t i = threadIdx.x; i < done / 4; i += kThreads) {
      const float4 x = wide[i];
      visit(x.x, i * 4);
      visit(x.y, i * 4 + 1);
      visit(x.z, i * 4 + 2);
      visit(x.w, i * 4 + 3);
    }
  }
  for (int32_t i = done + threadIdx.x; i < count; i += kThreads) visit(logits[i], i);
}

// Ascending in the float's order; NaN must not come here.
__device__ uint32_t key_of(float x) {
  const uint32_t bits = __float_as_uint(x == 0 ? 0.0f : x);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
__device__ float logit_of(uint32_t key) {
  return __uint_as_float(key & 0x80000000u ? key & 0x7fffffffu : ~key);
}

// The exponential of kernels/exponential.h, operation by operation (this file is compiled without
// contraction), so that host and device sample the same tokens.
__device__ float exp_like_host(float x) {
  const float clamped = x > 88.0f ? 88.0f : (x < -87.0f ? -87.0f : x);
  const float shifted = clamped * 1.44269504088896341f + 12582912.0f;
  const float n = shifted - 12582912.0f;
  const float r = (clamped - n * 0.693359375f) - n * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  const uint32_t scale = (__float_as_uint(shifted) << 23) + 0x3f800000u;
  return x < -87.0f ? 0.0f : p * __uint_as_float(scale);
}

// Philox4x32-10: Salmon, Moraes, Dror, Shaw, SC 2011; as kernels/sampling.cc draws.
__device__ Mass random_53_bits(const SamplingRow& row) {
  uint32_t c[4] = {row.position, row.choice, 0, 0};
  uint32_t key0 = static_cast<uint32_t>(row.seed), key1 = static_cast<uint32_t>(row.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53u} * c[0];
    const uint64_t b = uint64_t{0xCD9E8D57u} * c[2];
    const uint32_t next[4] = {
        static_cast<uint32_t>(b >> 32) ^ c[1] ^ key0, static_cast<uint32_t>(b),
        static_cast<uint32_t>(a >> 32) ^ c[3] ^ key1, static_cast<uint32_t>(a)};
    for (int i = 0; i < 4; ++i) c[i] = next[i];
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return (uint64_t{c[0]} << 32 | c[1]) >> 11;
}

struct Row {
  const float* logits;
  int32_t vocab;
  float max;
  float inverse_temperature;

  __device__ float weight(float logit) const {
    const float w = exp_like_host((logit - max) * inverse_temperature);
    return w == w ? w : 0.0f;
  }
  __device__ Mass mass(float logit) const {
    return static_cast<Mass>(static_cast<double>(weight(logit)) * 0x1p44);
  }
};

// The first `ties` tokens (by id) with logit key `limit`, and all with a larger key.
struct Kept {
  uint32_t limit;
  int32_t ties;
};

__device__ bool better(float a, int32_t a_id, float b, int32_t b_id) {
  return a > b || (a == b && a_id < b_id);
}

// The best token after `previous` in candidate order (previous.token < 0: of all).
__device__ Best find_best(SharedState& shared, const float* logits, int32_t vocab, Best previous) {
  Best best{-INFINITY, INT_MAX};
  for_each(logits, vocab, [&](float x, int32_t i) {
    if (x != x) return;
    if (previous.token >= 0 && !better(previous.logit, previous.token, x, i)) return;
    if (best.token == INT_MAX || better(x, i, best.logit, best.token)) best = {x, i};
  });
#pragma unroll
  for (int step = 16; step > 0; step >>= 1) {
    const Best other{__shfl_xor_sync(~0u, best.logit, step),
                     __shfl_xor_sync(~0u, best.token, step)};
    if (other.token != INT_MAX &&
        (best.token == INT_MAX || better(other.logit, other.token, best.logit, best.token)))
      best = other;
  }
  __syncthreads();
  if (threadIdx.x % 32 == 0) {
    shared.warp_logit[threadIdx.x / 32] = best.logit;
    shared.warp_id[threadIdx.x / 32] = best.token;
  }
  __syncthreads();
  best = {-INFINITY, INT_MAX};
  for (int w = 0; w < kWarps; ++w) {
    const Best other{shared.warp_logit[w], shared.warp_id[w]};
    if (other.token != INT_MAX &&
        (best.token == INT_MAX || better(other.logit, other.token, best.logit, best.token)))
      best = other;
  }
  return best;
}

// The best of all by the blocks of a cluster, an equal part each. All of them call; the result is
// the first one's.
__device__ Best find_best_together(SharedState& shared, const float* logits, int32_t vocab) {
  const auto block = static_cast<int32_t>(cluster_rank());
  const int32_t part = ((vocab + kTogether - 1) / kTogether + 3) / 4 * 4;
  const int32_t first = min(block * part, vocab);
  Best best = find_best(shared, logits + first, min(part, vocab - first), {0, -1});
  if (best.token != INT_MAX) best.token += first;
  if (threadIdx.x == 0) *of_cluster_block(&shared.of_block[block], 0) = best;
  cluster_synchronize();
  best = {-INFINITY, INT_MAX};
  for (int b = 0; block == 0 && b < kTogether; ++b) {
    const Best other = shared.of_block[b];
    if (other.token != INT_MAX &&
        (best.token == INT_MAX || better(other.logit, other.token, best.logit, best.token)))
      best = other;
  }
  return best;
}

__device__ Mass block_mass(SharedState& shared, Mass mine) {
#pragma unroll
  for (int step = 16; step > 0; step >>= 1) mine += __shfl_xor_sync(~0u, mine, step);
  __syncthreads();
  if (threadIdx.x % 32 == 0) shared.warp_mass[threadIdx.x / 32] = mine;
  __syncthreads();
  Mass sum = 0;
  for (int w = 0; w < kWarps; ++w) sum += shared.warp_mass[w];
  return sum;
}

// Inclusive prefix sum over the block's threads; `total` gets the sum of all.
__device__ Mass block_prefix(SharedState& shared, Mass mine, Mass* total) {
  const int32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
#pragma unroll
  for (int step = 1; step < 32; step <<= 1) {
    const Mass other = __shfl_up_sync(~0u, mine, step);
    if (lane >= step) mine += other;
  }
  __syncthreads();
  if (lane == 31) shared.warp_mass[warp] = mine;
  __syncthreads();
  Mass before = 0;
  *total = 0;
  for (int w = 0; w < kWarps; ++w) {
    if (w < warp) before += shared.warp_mass[w];
    *total += shared.warp_mass[w];
  }
  return before + mine;
}

// As ids ascend over [0, vocab): the first at which the running sum of measure(id) exceeds
// `target`; -1 if none does. First the span of 32 that a warp sums up, then the place in it.
template <typename Measure>
__device__ int32_t find_by_id(SharedState& shared, int32_t vocab, Mass target, Measure measure) {
  const int32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int32_t span = (vocab + kWarps - 1) / kWarps;
  Mass mine = 0;
#pragma unroll 4
  for (int32_t i = warp * span + lane; i < min(vocab, (warp + 1) * span); i += 32)
    mine += measure(i);
  Mass total;
  block_prefix(shared, mine, &total);
  Mass before = 0;
  int32_t found = 0;
  while (found < kWarps && before + shared.warp_mass[found] <= target)
    before += shared.warp_mass[found++];
  __syncthreads();
  if (found == kWarps) return -1;
  const int32_t share = (span + kThreads - 1) / kThreads;
  const int32_t begin = min(vocab, found * span + static_cast<int32_t>(threadIdx.x) * share);
  const int32_t end = min(min(vocab, (found + 1) * span), begin + share);
  mine = 0;
  for (int32_t i = begin; i < end; ++i) mine += measure(i);
  const Mass last = before + block_prefix(shared, mine, &total);
  if (last > target && last - mine <= target) {
    Mass sum = last - mine;
    for (int32_t i = begin; i < end; ++i) {
      sum += measure(i);
      if (sum > target) {
        shared.found = i;
        break;
      }
    }
  }
  __syncthreads();
  return shared.found;
}

// Logits to search: the whole row, or those near its best.
struct Logits {
  const float* data;
  int32_t count;
};

struct Limit {
  uint32_t key;
  Mass before;  // sum of the measure over larger keys
  bool found;
};

// As logits descend: the largest key at which the running sum of measure(key) exceeds `target`.
// Tokens with a measure of zero do not count.
template <typename Measure>
__device__ Limit find_by_logit(SharedState& shared, const Logits& logits, Mass target,
                               Measure measure) {
  Limit limit{0, 0, true};
  const int32_t warp = threadIdx.x / 32;
  for (int shift = 24; shift >= 0; shift -= 8) {
    for (int b = threadIdx.x % 32; b < kBins; b += 32) shared.bins[warp][b] = 0;
    __syncwarp();
    const uint32_t prefix_mask = shift == 24 ? 0 : ~0u << (shift + 8);
    for_each(logits.data, logits.count, [&](float x, int32_t) {
      if (x != x) return;
      const uint32_t key = key_of(x);
      if ((key & prefix_mask) != (limit.key & prefix_mask)) return;
      const Mass m = measure(key);
      if (m != 0) atomicAdd(&shared.bins[warp][key >> shift & (kBins - 1)], m);
    });
    __syncthreads();
    for (int b = threadIdx.x; b < kBins; b += kThreads) {
      Mass sum = 0;
      for (int w = 0; w < kWarps; ++w) sum += shared.bins[w][b];
      shared.bins[0][b] = sum;
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      Mass before = limit.before;
      int32_t bin = kBins - 1;
      for (; bin >= 0; --bin) {
        if (before + shared.bins[0][bin] > target) break;
        before += shared.bins[0][bin];
      }
      shared.found = bin;
      shared.found_before = before;
    }
    __syncthreads();
    if (shared.found < 0) return {0, shared.found_before, false};
    limit.key |= static_cast<uint32_t>(shared.found) << shift;
    limit.before = shared.found_before;
    __syncthreads();
  }
  return limit;
}

// Mass of a token under `kept`; ties at the limit are handled by the caller.
__device__ Mass mass_above(const Row& row, const Kept& kept, float min_p, uint32_t key) {
  if (key <= kept.limit) return 0;
  const float logit = logit_of(key);
  return min_p > 0 && row.weight(logit) < min_p ? 0 : row.mass(logit);
}

// Sum of the masses of `logits` above kept.limit.
__device__ Mass sum_above(SharedState& shared, const Row& row, const Logits& logits,
                          const Kept& kept, float min_p) {
  Mass mine = 0;
  for_each(logits.data, logits.count, [&](float x, int32_t) {
    if (x == x) mine += mass_above(row, kept, min_p, key_of(x));
  });
  return block_mass(shared, mine);
}

// Fills shared.near; returns the mass of the whole row, and in *near that of the list.
__device__ Mass collect_near(SharedState& shared, const Row& row, Mass* near) {
  __syncthreads();
  if (threadIdx.x == 0) shared.near_count = 0;
  __syncthreads();
  Mass all = 0, listed = 0;
  for_each(row.logits, row.vocab, [&](float x, int32_t) {
    const Mass mass = row.mass(x);
    all += mass;
    if ((x - row.max) * row.inverse_temperature >= -kNearDistance) {
      listed += mass;
      const int32_t at = atomicAdd(&shared.near_count, 1);
      if (at < kNear) shared.near[at] = x;
    }
  });
  *near = block_mass(shared, listed);
  return block_mass(shared, all);
}

// Mass that the shortest prefix must reach for top-p.
__device__ Mass needed_mass(float top_p, Mass total) {
  const double share = fmax(0.0, static_cast<double>(top_p));
  const Mass need = static_cast<Mass>(ceil(share * static_cast<double>(total)));
  return need == 0 ? 1 : (need > total ? total : need);
}

// Whether every token that the filters can keep is among those near the best.
__device__ bool near_is_enough(const SharedState& shared, const Row& row, const SamplingRow& wanted,
                               Mass all, Mass near) {
  if (shared.near_count > kNear) return false;
  if (wanted.top_k > 0 && wanted.top_k < row.vocab) return shared.near_count >= wanted.top_k;
  if (wanted.top_p < 1) return near >= needed_mass(wanted.top_p, all);
  return exp_like_host(-kNearDistance) < wanted.min_p;
}

// Top-k, then top-p of what is left (of mass `all` without top-k); min-p is applied where masses
// are summed.
__device__ Kept filter(SharedState& shared, const Row& row, const Logits& logits,
                       const SamplingRow& wanted, Mass all) {
  Kept kept{0, INT_MAX};
  if (wanted.top_k > 0 && wanted.top_k < row.vocab) {
    const Limit limit = find_by_logit(shared, logits, static_cast<Mass>(wanted.top_k) - 1,
                                      [](uint32_t) { return Mass{1}; });
    if (limit.found) kept = {limit.key, wanted.top_k - static_cast<int32_t>(limit.before)};
  }
  if (!(wanted.top_p < 1)) return kept;
  const bool ties = kept.ties != INT_MAX;
  const Mass tie_mass = ties ? row.mass(logit_of(kept.limit)) : 0;
  const Mass total = ties ? sum_above(shared, row, logits, kept, 0) + tie_mass * kept.ties : all;
  const Mass need = needed_mass(wanted.top_p, total);
  // The running sum reaches `need` where it exceeds need - 1.
  const Limit limit = find_by_logit(shared, logits, need - 1,
                                    [&](uint32_t key) { return mass_above(row, kept, 0, key); });
  if (limit.found) {
    const Mass each = row.mass(logit_of(limit.key));
    return {limit.key, static_cast<int32_t>((need - limit.before + each - 1) / each)};
  }
  if (!ties || tie_mass == 0) return kept;
  const Mass more = (need - limit.before + tie_mass - 1) / tie_mass;
  return {kept.limit, static_cast<int32_t>(min(static_cast<Mass>(kept.ties), more))};
}

// floor(u * total) for a uniform u of 53 bits.
__device__ Mass scaled(Mass bits, Mass total) { return __umul64hi(bits << 11, total); }

__device__ int32_t draw_filtered(SharedState& shared, const Row& row, const SamplingRow& wanted,
                                 Best best) {
  Mass near = 0;
  const Mass all = collect_near(shared, row, &near);
  const Logits logits = near_is_enough(shared, row, wanted, all, near)
                            ? Logits{shared.near, shared.near_count}
                            : Logits{row.logits, row.vocab};
  const Kept kept = filter(shared, row, logits, wanted, all);
  const bool limited = kept.ties != INT_MAX;
  const float limit_logit = logit_of(kept.limit);
  const bool ties_stay = limited && !(wanted.min_p > 0 && row.weight(limit_logit) < wanted.min_p);
  const Mass above = sum_above(shared, row, logits, kept, wanted.min_p);
  const Mass each = ties_stay ? row.mass(limit_logit) : 0;
  const Mass total = above + each * (ties_stay ? kept.ties : 0);
  if (total == 0) return best.token;
  const Mass target = scaled(random_53_bits(wanted), total);
  uint32_t key = kept.limit;
  Mass rest = target - above;
  if (target < above) {
    const Limit limit = find_by_logit(
        shared, logits, target, [&](uint32_t k) { return mass_above(row, kept, wanted.min_p, k); });
    key = limit.key;
    rest = target - limit.before;
  }
  const Mass tie = row.mass(logit_of(key));
  const Mass index = tie == 0 ? 0 : rest / tie;
  const int32_t token = find_by_id(shared, row.vocab, index, [&](int32_t i) {
    const float x = row.logits[i];
    return Mass{x == x && key_of(x) == key};
  });
  return token < 0 ? best.token : token;
}

__device__ int32_t draw_unfiltered(SharedState& shared, const Row& row, const SamplingRow& wanted,
                                   Best best) {
  Mass mine = 0;
  for_each(row.logits, row.vocab, [&](float x, int32_t) { mine += row.mass(x); });
  const Mass total = block_mass(shared, mine);
  const Mass target = scaled(random_53_bits(wanted), total);
  const int32_t token =
      find_by_id(shared, row.vocab, target, [&](int32_t i) { return row.mass(row.logits[i]); });
  return token < 0 ? best.token : token;
}

__device__ int32_t choose(SharedState& shared, const float* logits, int32_t vocab,
                          const SamplingRow& wanted, Best best) {
  if (best.token == INT_MAX) best = {-INFINITY, 0};
  const float inverse_temperature = 1.0f / wanted.temperature;
  const bool greedy =
      !(wanted.temperature > 0) || !isfinite(inverse_temperature) || wanted.top_k == 1;
  if (greedy || !isfinite(best.logit)) return best.token;
  const Row row{logits, vocab, best.logit, inverse_temperature};
  const bool filtered =
      (wanted.top_k > 0 && wanted.top_k < vocab) || wanted.top_p < 1 || wanted.min_p > 0;
  return filtered ? draw_filtered(shared, row, wanted, best)
                  : draw_unfiltered(shared, row, wanted, best);
}

__device__ void apply_penalties(float* logits, int32_t vocab, const SamplingRow& row,
                                const TokenCount* counts, const TokenBias* bias) {
  for (int32_t i = row.bias_begin + threadIdx.x; i < row.bias_end; i += kThreads) {
    if (bias[i].token >= 0 && bias[i].token < vocab)
      atomicAdd(&logits[bias[i].token], bias[i].bias);
  }
  __syncthreads();
  for (int32_t i = row.count_begin + threadIdx.x; i < row.count_end; i += kThreads) {
    const TokenCount count = counts[i];
    if (count.token < 0 || count.token >= vocab) continue;
    float logit = logits[count.token];
    if (count.in_prompt != 0 || count.output_count > 0) {
      logit = logit > 0 ? logit / row.repetition_penalty : logit * row.repetition_penalty;
    }
    if (count.output_count > 0) {
      logit -=
          row.presence_penalty + row.frequency_penalty * static_cast<float>(count.output_count);
    }
    logits[count.token] = logit;
  }
  __syncthreads();
}

__device__ float logprob_of(float logit, float max, double log_sum) {
  if (logit != logit) return -INFINITY;
  if (logit == max) return static_cast<float>(-log_sum);
  return static_cast<float>(static_cast<double>(logit) - static_cast<double>(max) - log_sum);
}

// Logprobs and rank of the model's own distribution.
__device__ void report(SharedState& shared, const float* raw, int32_t vocab,
                       const SamplingRow& wanted, SamplingResult* result) {
  Best best = find_best(shared, raw, vocab, {0, -1});
  const bool good = usable(best);
  if (best.token == INT_MAX) best = {-INFINITY, 0};
  double log_sum = 0;
  if (isfinite(best.logit)) {
    const Row row{raw, vocab, best.logit, 1.0f};
    Mass mine = 0;
    for_each(raw, vocab, [&](float x, int32_t) { mine += row.mass(x); });
    log_sum = log(static_cast<double>(block_mass(shared, mine)) * 0x1p-44);
  }
  const int32_t token = result->token;
  const float chosen = raw[token];
  Mass ahead = 0;
  for_each(raw, vocab, [&](float x, int32_t i) {
    ahead += static_cast<Mass>(x > chosen || (x == chosen && i < token));
  });
  const Mass rank = block_mass(shared, ahead) + 1;
  int32_t count = 0;
  Best previous{0, -1};
  for (; count < min(wanted.top_logprobs, kTopLogprobs); ++count) {
    previous = find_best(shared, raw, vocab, previous);
    if (previous.token == INT_MAX) break;
    if (threadIdx.x == 0) {
      result->top[count] = {previous.token, logprob_of(previous.logit, best.logit, log_sum)};
    }
  }
  if (threadIdx.x == 0) {
    result->logprob = logprob_of(chosen, best.logit, log_sum);
    result->rank = good ? static_cast<int32_t>(rank) : kNoUsableLogits;
    result->top_count = count;
  }
}

template <bool kClusters>
__global__ void __launch_bounds__(kThreads)
    sample_kernel(RowCount rows, int64_t vocab, float* logits, const SamplingRow* wanted_rows,
                  const TokenCount* counts, const TokenBias* bias, float* copies,
                  SamplingResult* results) {
  extern __shared__ __align__(16) char shared_memory[];
  SharedState& shared = *reinterpret_cast<SharedState*>(shared_memory);
  if constexpr (kClusters) cluster_arrive();
  wait_for_predecessor();
  if constexpr (kClusters) cluster_wait();
  const int32_t index = kClusters ? blockIdx.x / kTogether : blockIdx.x;
  if (index >= actual_rows(rows)) return;
  const bool first = !kClusters || cluster_rank() == 0;
  const SamplingRow wanted = wanted_rows[index];
  const auto width = static_cast<int32_t>(vocab);
  float* own = logits + index * vocab;
  const float* raw = own;
  SamplingResult* result = results + index;
  const bool reports = wanted.top_logprobs >= 0 || wanted.target >= 0;
  if (first && threadIdx.x == 0) {
    result->token = wanted.target >= 0 ? min(wanted.target, width - 1) : 0;
    result->logprob = 0;
    result->rank = 0;
    result->top_count = 0;
  }
  if (wanted.target < 0) {
    const bool modified =
        wanted.bias_end > wanted.bias_begin || wanted.count_end > wanted.count_begin;
    if (modified && reports && first) {
      float* copy = copies + index * vocab;
      for (int32_t i = threadIdx.x; i < width; i += kThreads) copy[i] = own[i];
      raw = copy;
      __syncthreads();
    }
    if (modified && first) apply_penalties(own, width, wanted, counts, bias);
    Best best;
    if constexpr (kClusters) {
      if (modified) cluster_synchronize();
      best = find_best_together(shared, own, width);
    } else {
      best = find_best(shared, own, width, {0, -1});
    }
    if (!first) return;
    const int32_t token = choose(shared, own, width, wanted, best);
    if (threadIdx.x == 0) {
      result->token = token;
      if (!usable(best)) result->rank = kNoUsableLogits;
    }
  }
  if (!first) return;
  __syncthreads();
  if (reports) report(shared, raw, width, wanted, result);
}

}  // namespace

cudaError_t prepare_sample() {
  const cudaError_t error = allow_shared(sample_kernel<false>, sizeof(SharedState));
  return error != cudaSuccess ? error : allow_shared(sample_kernel<true>, sizeof(SharedState));
}

Status sample(Context* context, Stream* stream, RowCount rows, int64_t vocab, float* logits,
              const SamplingRow* row, const TokenCount* counts, const TokenBias* bias,
              SamplingResult* results) {
  if (rows.bound == 0) return kOk;
  const auto launch = [&](auto kernel, unsigned blocks) {
    return check(start_clusters(kernel, dim3(rows.bound * blocks), blocks, dim3(kThreads),
                                sizeof(SharedState), native(stream), rows, vocab, logits, row,
                                counts, bias, context->scratch->sampling, results),
                 "sample");
  };
  return rows.bound <= kFewRows && context->machine.tuning.near != 0
             ? launch(sample_kernel<true>, kTogether)
             : launch(sample_kernel<false>, 1);
}

}  // namespace conclave::device::cuda
