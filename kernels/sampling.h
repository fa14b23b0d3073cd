#ifndef CONCLAVE_KERNELS_SAMPLING_H_
#define CONCLAVE_KERNELS_SAMPLING_H_

// What one sampled row asks for and what it gets. Random numbers are a pure function of
// (seed, choice, position): a row's token never depends on the batch it was sampled in.

#include <cstdint>
#include <span>
#include <vector>

namespace conclave::kernels {

inline constexpr int32_t kMaxTopLogprobs = 20;

struct TokenCount {
  int32_t token = 0;
  int32_t output_count = 0;  // occurrences in the generated text
  bool in_prompt = false;
};
struct TokenBias {
  int32_t token = 0;
  float bias = 0;  // -infinity bans the token
};

// Order of application: bias, repetition, presence and frequency penalties, temperature, top-k, top-p, min-p.
struct SamplingRow {
  float temperature = 0;  // 0: greedy, ties to the lowest id
  int32_t top_k = 0;      // 0: off
  float top_p = 1;
  float min_p = 0;
  float repetition_penalty = 1;
  float presence_penalty = 0;
  float frequency_penalty = 0;
  std::span<const TokenCount> counts;  // tokens seen so far; empty when no penalty is set
  std::span<const TokenBias> bias;
  uint64_t seed = 0;
  uint32_t choice = 0;
  uint32_t position = 0;    // index of the sampled token in the output, from 0
  int32_t top_logprobs = -1;  // -1: no logprobs; 0: the chosen token's only; n: the n best as well
  int32_t target = -1;        // >= 0: do not sample; report this token (prompt logprobs)
};

struct TokenLogprob {
  int32_t token = 0;
  float logprob = 0;  // natural logarithm, of the model's distribution before penalties, bias and temperature
};

// SamplingResult::rank of a row whose largest logit is infinity, or whose logits are all NaN: the token and
// its logprobs mean nothing.
inline constexpr int32_t kNoUsableLogits = -1;

struct SamplingResult {
  int32_t token = 0;
  float logprob = 0;
  // 1-based rank of the token in the model's distribution; 0 if not computed; kNoUsableLogits: see there.
  int32_t rank = 0;
  int32_t top_count = 0;
  TokenLogprob top[kMaxTopLogprobs];
};

// A uniform float in [0, 1) from counter-based Philox4x32-10 keyed by seed, choice, position and draw.
float uniform_random(uint64_t seed, uint32_t choice, uint32_t position, uint32_t draw);

}  // namespace conclave::kernels

#endif  // CONCLAVE_KERNELS_SAMPLING_H_
