#include "kernels/sampling.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "kernels/exponential.h"
#include "kernels/sampling_row.h"

namespace conclave::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC
// 2011.
std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, uint32_t key0, uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53u} * counter[0];
    const uint64_t b = uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key0, static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key1, static_cast<uint32_t>(a)};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

std::array<uint32_t, 4> random_words(uint64_t seed, uint32_t choice, uint32_t position,
                                     uint32_t draw) {
  return philox({position, choice, draw, 0}, static_cast<uint32_t>(seed),
                static_cast<uint32_t>(seed >> 32));
}

// 53 bits: a float's 24 could not reach tokens less likely than 6e-8.
double uniform_double(const SamplingRow& row) {
  const auto words = random_words(row.seed, row.choice, row.position, 0);
  const uint64_t bits = (uint64_t{words[0]} << 32 | words[1]) >> 11;
  return static_cast<double>(bits) * 0x1p-53;
}

// Sorts best first; equal logits by id.
bool better(const SamplingCandidate& a, const SamplingCandidate& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
}

struct Best {
  float logit = -kInfinity;
  int32_t token = 0;
  bool found = false;  // false: all are NaN
  bool usable() const { return found && logit != kInfinity; }
};

// The lowest id among the largest; comparisons with NaN are false, so NaN never wins.
Best find_best(const float* logits, int64_t vocab) {
  Best best;
  for (int64_t i = 0; i < vocab; ++i) {
    if (logits[i] > best.logit || (!best.found && logits[i] == best.logit)) {
      best = {logits[i], static_cast<int32_t>(i), true};
    }
  }
  return best;
}

// exp((l - max) * inverse_temperature) with NaN as absent.
inline float weight_of(float logit, float max, float inverse_temperature) {
  const float weight = exp_float((logit - max) * inverse_temperature);
  return weight == weight ? weight : 0.0f;
}

constexpr int64_t kSumLanes = 16;

// Sum of the row's weights. The order (16 interleaved partial sums) depends on vocab alone.
double sum_of_weights(const float* logits, int64_t vocab, float max, float inverse_temperature) {
  double lanes[kSumLanes] = {};
  const int64_t whole = vocab - vocab % kSumLanes;
  for (int64_t i = 0; i < whole; i += kSumLanes) {
    float weights[kSumLanes];
    for (int64_t lane = 0; lane < kSumLanes; ++lane) {
      weights[lane] = weight_of(logits[i + lane], max, inverse_temperature);
    }
    for (int64_t lane = 0; lane < kSumLanes; ++lane)
      lanes[lane] += static_cast<double>(weights[lane]);
  }
  for (int64_t i = whole; i < vocab; ++i) {
    lanes[i - whole] += static_cast<double>(weight_of(logits[i], max, inverse_temperature));
  }
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

void apply_penalties(float* logits, int64_t vocab, const SamplingRow& row) {
  for (const TokenBias& bias : row.bias) {
    if (bias.token >= 0 && bias.token < vocab) logits[bias.token] += bias.bias;
  }
  for (const TokenCount& count : row.counts) {
    if (count.token < 0 || count.token >= vocab) continue;
    float& logit = logits[count.token];
    if (count.in_prompt || count.output_count > 0) {
      logit = logit > 0 ? logit / row.repetition_penalty : logit * row.repetition_penalty;
    }
    if (count.output_count > 0) {
      logit -=
          row.presence_penalty + row.frequency_penalty * static_cast<float>(count.output_count);
    }
  }
}

// Candidates within `distance` scaled logits of the best, in id order.
size_t collect(const float* logits, int64_t vocab, float max, float inverse_temperature,
               float distance, std::vector<SamplingCandidate>& out) {
  size_t count = 0;
  for (int64_t i = 0; i < vocab; ++i) {
    if ((logits[i] - max) * inverse_temperature >= -distance && logits[i] > -kInfinity) {
      out[count++] = {logits[i], static_cast<int32_t>(i)};
    }
  }
  return count;
}

struct Distribution {
  const float* logits;
  int64_t vocab;
  float max;
  float inverse_temperature;
  double probability(float logit) const {
    return static_cast<double>(weight_of(logit, max, inverse_temperature));
  }
};

// Length of the shortest prefix of candidates[0, count) whose mass reaches `mass`; 0 if none does.
size_t prefix_of_mass(const Distribution& d, const std::vector<SamplingCandidate>& candidates,
                      size_t count, double mass) {
  double sum = 0;
  for (size_t i = 0; i < count; ++i) {
    sum += d.probability(candidates[i].logit);
    if (sum >= mass) return i + 1;
  }
  return 0;
}

double mass_of(const Distribution& d, const std::vector<SamplingCandidate>& candidates,
               size_t count) {
  double sum = 0;
  for (size_t i = 0; i < count; ++i) sum += d.probability(candidates[i].logit);
  return sum;
}

// Top-k, then top-p of what is left, then min-p: each keeps a prefix of the descending order, so
// the survivors are one prefix. Only tokens near the best are sorted; the distance grows until it
// is enough.
size_t filter(const Distribution& d, const SamplingRow& row,
              std::vector<SamplingCandidate>& candidates) {
  const bool by_mass = row.top_p < 1;
  const double top_p = std::max(0.0, static_cast<double>(row.top_p));
  const double total = by_mass && row.top_k <= 0
                           ? sum_of_weights(d.logits, d.vocab, d.max, d.inverse_temperature)
                           : 0;
  size_t kept = 0;
  for (float distance = 8;; distance = distance < 64 ? distance * 2 : kInfinity) {
    const bool last = distance == kInfinity;
    const size_t near =
        collect(d.logits, d.vocab, d.max, d.inverse_temperature, distance, candidates);
    const auto begin = candidates.begin();
    const auto end = begin + static_cast<std::ptrdiff_t>(near);
    if (row.top_k > 0) {
      if (near < static_cast<size_t>(row.top_k) && !last) continue;
      kept = std::min(near, static_cast<size_t>(row.top_k));
      std::partial_sort(begin, begin + static_cast<std::ptrdiff_t>(kept), end, better);
      if (by_mass) kept = prefix_of_mass(d, candidates, kept, top_p * mass_of(d, candidates, kept));
      break;
    }
    std::sort(begin, end, better);
    kept = near;
    if (!by_mass) {
      const bool covers_min_p = row.min_p > 0 && exp_float(-distance) < row.min_p;
      if (covers_min_p || last) break;
      continue;
    }
    kept = prefix_of_mass(d, candidates, near, top_p * total);
    if (kept != 0) break;
    if (last) {
      kept = near;
      break;
    }
  }
  kept = std::max<size_t>(kept, 1);
  if (row.min_p > 0) {
    size_t likely = 1;
    while (likely < kept &&
           d.probability(candidates[likely].logit) >= static_cast<double>(row.min_p))
      ++likely;
    kept = likely;
  }
  return kept;
}

int32_t draw_filtered(const Distribution& d, const SamplingRow& row,
                      std::vector<SamplingCandidate>& candidates) {
  const size_t kept = filter(d, row, candidates);
  const double threshold = uniform_double(row) * mass_of(d, candidates, kept);
  double sum = 0;
  for (size_t i = 0; i < kept; ++i) {
    sum += d.probability(candidates[i].logit);
    if (sum > threshold) return candidates[i].token;
  }
  return candidates[kept - 1].token;
}

// Inverse distribution function over ids in ascending order.
int32_t draw_unfiltered(const Distribution& d, const SamplingRow& row, int32_t best) {
  const double threshold =
      uniform_double(row) * sum_of_weights(d.logits, d.vocab, d.max, d.inverse_temperature);
  double sum = 0;
  for (int64_t i = 0; i < d.vocab; ++i) {
    sum += d.probability(d.logits[i]);
    if (sum > threshold) return static_cast<int32_t>(i);
  }
  return best;
}

int32_t choose_token(const float* logits, int64_t vocab, const SamplingRow& row, const Best& best,
                     SamplingScratch& scratch) {
  const float inverse_temperature = 1.0f / row.temperature;
  const bool greedy =
      !(row.temperature > 0) || !std::isfinite(inverse_temperature) || row.top_k == 1;
  if (greedy || !std::isfinite(best.logit)) return best.token;
  const Distribution d{logits, vocab, best.logit, inverse_temperature};
  const bool filtered = (row.top_k > 0 && row.top_k < vocab) || row.top_p < 1 || row.min_p > 0;
  return filtered ? draw_filtered(d, row, scratch.candidates) : draw_unfiltered(d, row, best.token);
}

// log-softmax of the model's own logits; -infinity where they are NaN.
struct RawDistribution {
  float max;
  double log_sum;
  float logprob(float logit) const {
    if (std::isnan(logit)) return -kInfinity;
    if (logit == max) return static_cast<float>(-log_sum);
    return static_cast<float>(static_cast<double>(logit) - static_cast<double>(max) - log_sum);
  }
};

int32_t collect_top(const float* raw, int64_t vocab, int32_t wanted, TokenLogprob* top,
                    const RawDistribution& distribution) {
  SamplingCandidate best[kMaxTopLogprobs + 1];
  int32_t count = 0;
  const int32_t limit = std::min(wanted, kMaxTopLogprobs);
  if (limit <= 0) return 0;
  for (int64_t i = 0; i < vocab; ++i) {
    if (std::isnan(raw[i]) || (count == limit && !(raw[i] > best[count - 1].logit))) continue;
    const SamplingCandidate candidate{raw[i], static_cast<int32_t>(i)};
    int32_t at = count < limit ? count++ : count - 1;
    while (at > 0 && better(candidate, best[at - 1])) {
      best[at] = best[at - 1];
      --at;
    }
    best[at] = candidate;
  }
  for (int32_t i = 0; i < count; ++i) top[i] = {best[i].token, distribution.logprob(best[i].logit)};
  return count;
}

int32_t rank_of(const float* raw, int64_t vocab, int32_t token) {
  int32_t rank = 1;
  for (int64_t i = 0; i < vocab; ++i) {
    rank += static_cast<int32_t>(raw[i] > raw[token] || (raw[i] == raw[token] && i < token));
  }
  return rank;
}

}  // namespace

float uniform_random(uint64_t seed, uint32_t choice, uint32_t position, uint32_t draw) {
  return static_cast<float>(random_words(seed, choice, position, draw)[0] >> 8) * 0x1p-24f;
}

void sample_row(float* logits, int64_t vocab, const SamplingRow& row, SamplingScratch& scratch,
                SamplingResult& result) {
  if (static_cast<int64_t>(scratch.candidates.size()) < vocab) scratch.reserve(vocab);
  result.token = 0;
  result.logprob = 0;
  result.rank = 0;
  result.top_count = 0;
  const bool wants_logprobs = row.top_logprobs >= 0 || row.target >= 0;
  const float* raw = logits;
  const bool modified = row.target < 0 && (!row.bias.empty() || !row.counts.empty());
  if (wants_logprobs && modified) {
    std::copy_n(logits, vocab, scratch.raw.begin());
    raw = scratch.raw.data();
  }
  if (row.target >= 0) {
    result.token = static_cast<int32_t>(std::min<int64_t>(row.target, vocab - 1));
  } else {
    if (modified) apply_penalties(logits, vocab, row);
    const Best best = find_best(logits, vocab);
    result.token = choose_token(logits, vocab, row, best, scratch);
    if (!best.usable()) result.rank = kNoUsableLogits;
  }
  if (!wants_logprobs) return;
  const Best best = find_best(raw, vocab);
  // With an infinite best logit all mass is there.
  const double log_sum =
      std::isfinite(best.logit) ? std::log(sum_of_weights(raw, vocab, best.logit, 1.0f)) : 0.0;
  const RawDistribution distribution{best.logit, log_sum};
  result.logprob = distribution.logprob(raw[result.token]);
  result.rank = best.usable() ? rank_of(raw, vocab, result.token) : kNoUsableLogits;
  result.top_count = collect_top(raw, vocab, row.top_logprobs, result.top, distribution);
}

}  // namespace conclave::kernels
