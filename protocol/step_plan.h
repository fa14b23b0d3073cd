#ifndef CONCLAVE_PROTOCOL_STEP_PLAN_H_
#define CONCLAVE_PROTOCOL_STEP_PLAN_H_

// All that workers need for one step, and all that they report. A plan is complete in itself: workers
// keep no request state but K/V blocks, so preemption, replay and chunking need no further message.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "protocol/placement_update.h"
#include "protocol/routing_counts.h"

namespace conclave::protocol {

struct TokenLogprob {
  int32_t token = 0;
  float logprob = 0;  // natural logarithm, of the model's distribution before penalties, bias and temperature
};
struct TokenBias {
  int32_t token = 0;
  float bias = 0;  // -infinity bans the token
};
struct TokenCount {
  int32_t token = 0;
  int32_t output_count = 0;  // occurrences in the generated text
  bool in_prompt = false;
};

// How the token after a row is chosen. Random numbers are a function of (seed, choice, position) alone.
struct Sampling {
  float temperature = 0;
  int32_t top_k = 0;
  float top_p = 1;
  float min_p = 0;
  float repetition_penalty = 1;
  float presence_penalty = 0;
  float frequency_penalty = 0;
  uint64_t seed = 0;
  uint32_t choice = 0;
  uint32_t position = 0;      // index of the sampled token in the output
  int32_t top_logprobs = -1;  // -1: none; 0: the chosen token; n: the n best as well
  std::vector<TokenCount> counts;
  std::vector<TokenBias> bias;
};

// Consecutive tokens of one sequence, computed in this step on its home rank.
struct SequenceChunk {
  uint64_t sequence_id = 0;
  int32_t home_rank = 0;
  int32_t start_position = 0;            // position of tokens[0]; K/V of 0..start-1 is in the blocks
  std::vector<int32_t> tokens;           // >= 1. kPreviousToken: the token this sequence sampled in the step before
  std::vector<int32_t> block_ids;        // of the home rank's pool; covers start_position + tokens.size()
  bool sample = false;                   // sample after the last token
  Sampling sampling;                     // meaningful if sample
  int32_t prompt_top_logprobs = -1;      // >= 0: report logprobs of targets (see prompt_targets)
  std::vector<int32_t> prompt_targets;   // [tokens] the token that follows each row, -1 to skip; empty if not asked
  bool want_logits = false;              // report float32 logits of every row (offline tools)
  bool want_routing = false;             // report expert ids of every row and MoE layer (offline tools)
  bool want_rank_hits = false;           // report on which ranks its rows find experts
  // The token continues on the rank of its leading expert; K/V of 0..start-1 is in block_ids of every rank,
  // and that of this row will be. One row.
  bool coherent = false;
};
inline constexpr int32_t kPreviousToken = -1;

// K/V blocks of a sequence that changes its home; copied before anything of the step is written.
struct KvMove {
  int32_t from_rank = 0;
  int32_t to_rank = 0;
  std::vector<int32_t> from_blocks;
  std::vector<int32_t> to_blocks;  // as many
};

struct StepPlan {
  int64_t step = 0;
  int64_t placement_epoch = 0;
  int32_t deadline_ms = 10000;  // for the whole step
  bool sleep = false;           // nothing to compute: ranks go back to their control connections
  bool trace = false;           // report what each rank did when: RankTiming::spans
  int8_t log_level = -1;        // a LogLevel that ranks shall use from here on; -1: as before
  // Block ids are good on every rank: each publishes the K/V of its rows to all. Needed for coherent chunks.
  bool shared_kv = false;
  bool report_routing = false;  // the result shall carry RoutingCounts of every rank
  // The next plan may come before this one's result and ask for tokens that this one samples: ranks
  // that can have two steps under way look for it.
  bool may_be_followed = false;
  bool record_routing = false;  // the result shall carry the RowRouting of every row
  std::optional<PlacementUpdate> prepare;  // begin to load it; placement_epoch names what is in force
  std::vector<KvMove> kv_moves;
  std::vector<SequenceChunk> chunks;
};

struct PromptLogprob {
  int32_t row = 0;  // index in the chunk's tokens
  TokenLogprob target;
  std::vector<TokenLogprob> top;
};

struct SequenceResult {
  uint64_t sequence_id = 0;
  bool sampled = false;
  int32_t token = 0;
  float logprob = 0;
  bool finite = true;  // false: the logits of a row that samples or reports are NaN or infinite
  std::vector<TokenLogprob> top;
  std::vector<PromptLogprob> prompt_logprobs;
  std::vector<float> logits;     // [tokens, vocab] if wanted
  std::vector<int32_t> routing;  // [moe layers, tokens, k], ids ascending, if wanted
  std::vector<int32_t> rank_hits;  // [ranks]: (row, MoE layer) pairs with an expert on the rank, if wanted
};

// One operation of a traced step, seconds since the rank began the step.
struct TraceSpan {
  std::string operation;
  int32_t layer = -1;
  double begin = 0, end = 0;
};

// Timing of a step on one rank, seconds.
struct RankTiming {
  int32_t rank = 0;
  double compute_seconds = 0;
  double exchange_seconds = 0;          // begin to finish, summed over layers
  double exchange_exposed_seconds = 0;  // the part spent waiting
  double combine_seconds = 0;           // the part of exchange_seconds that brought results home
  int64_t tokens = 0;
  double switch_seconds = 0;            // of a new placement epoch, before the step
  int64_t bytes_sent = 0;
  int64_t messages_sent = 0;            // of the transport, empty ones included
  std::vector<int64_t> expert_rows;     // [moe layers]: rows this rank computed per layer
  std::vector<TraceSpan> spans;         // in order of time; empty unless the plan asked
  std::vector<Traffic> traffic;         // sent by this rank; only what is not zero
};

struct StepResult {
  int64_t step = 0;
  std::vector<SequenceResult> sequences;
  std::vector<RankTiming> ranks;
  std::vector<RoutingCounts> routing;   // one for each rank, if the plan asked
  RowRouting rows;                      // of all ranks, if the plan asked
};

std::vector<std::byte> encode(const StepPlan& plan);
std::vector<std::byte> encode(const StepResult& result);
// INVALID_ARGUMENT for bytes that no encoder wrote; never reads beyond them.
absl::StatusOr<StepPlan> decode_step_plan(std::span<const std::byte> bytes);
absl::StatusOr<StepResult> decode_step_result(std::span<const std::byte> bytes);

}  // namespace conclave::protocol

#endif  // CONCLAVE_PROTOCOL_STEP_PLAN_H_
