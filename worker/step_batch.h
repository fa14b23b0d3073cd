#ifndef CONCLAVE_WORKER_STEP_BATCH_H_
#define CONCLAVE_WORKER_STEP_BATCH_H_

// The part of a StepPlan that one rank computes, as the arrays that kernels read. Reused from step to
// step, so that a steady state allocates nothing.

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "kernels/kernel_set.h"
#include "kernels/sampling.h"
#include "protocol/step_plan.h"
#include "worker/previous_tokens.h"

namespace conclave::worker {

struct StepLimits {
  int32_t ranks = 1;
  int32_t max_rows = 0;
  int32_t max_positions = 0;
  int32_t kv_blocks = 0;
  int32_t vocab = 0;
  bool coherent = false;  // plans may put every sequence's K/V on every rank
  // kPreviousToken becomes -1 - (what `previous` holds) instead of it: the token itself is still on a device.
  bool previous_by_reference = false;
};

// A row whose logits are wanted, and what for. A row may occur more than once.
struct HeadRow {
  enum class Use : uint8_t { kLogits, kPromptTarget, kSample };
  int32_t row = 0;        // of the batch
  int32_t chunk = 0;      // index in plan.chunks
  int32_t chunk_row = 0;  // index in the chunk's tokens
  Use use = Use::kSample;
};

class StepBatch {
 public:
  explicit StepBatch(const StepLimits& limits);

  // Takes the chunks of `rank`. INVALID_ARGUMENT names the sequence and what is wrong with it. The plan
  // must outlive the use of the batch.
  absl::Status assign(const protocol::StepPlan& plan, int32_t rank, const PreviousTokens& previous);

  int64_t rows() const { return static_cast<int64_t>(rows_.size()); }
  // Of the rows that are here when the step begins.
  std::span<const int32_t> tokens() const { return tokens_; }
  kernels::AttentionBatch attention() const { return {rows_, block_ids_}; }
  std::span<const HeadRow> head_rows() const { return head_rows_; }
  // One for each head row, in the same order (unused for kLogits).
  std::span<const kernels::SamplingRow> sampling() const { return sampling_; }
  // --- context-coherent chunks: rows that change their rank from layer to layer. They come after the
  // fixed rows; each is known by its item, its number among the plan's coherent chunks.
  bool shared_kv() const { return shared_; }
  bool has_coherent() const { return !items_.empty(); }
  int64_t fixed_rows() const { return fixed_rows_; }
  std::span<const int32_t> start_items() const { return start_items_; }  // that begin on this rank
  void set_coherent(std::span<const int32_t> items);                     // that are here now
  // The step's layers are done: items are here and give logits here.
  void finish_coherent(const protocol::StepPlan& plan, std::span<const int32_t> items);
  // Which of the plan's rows, counted over its chunks, each row here is.
  std::span<const int32_t> step_rows() const { return step_rows_; }
  // With shared_kv(): all rows of the plan.
  std::span<const kernels::AttentionRow> plan_rows() const { return plan_rows_; }
  std::span<const int32_t> block_ids() const { return block_ids_; }

  bool wants_routing() const { return wants_routing_; }
  // Row of the batch where the chunk begins; -1: of another rank.
  int32_t first_row(size_t chunk) const { return first_row_[chunk]; }

 private:
  absl::Status check(const protocol::SequenceChunk& chunk) const;
  absl::Status check_coherent(const protocol::SequenceChunk& chunk) const;
  absl::Status append_tokens(const protocol::SequenceChunk& chunk, int32_t plan_row,
                             const PreviousTokens& previous);
  absl::Status append_token(const protocol::SequenceChunk& chunk, size_t index,
                            const PreviousTokens& previous);
  void append_plan_rows(const protocol::SequenceChunk& chunk);
  void append_head_rows(const protocol::SequenceChunk& chunk, int32_t index);
  void append_sampling(const protocol::Sampling& sampling);
  void bind_penalties(const protocol::StepPlan& plan);

  StepLimits limits_;
  std::vector<int32_t> tokens_;
  std::vector<kernels::AttentionRow> rows_;
  std::vector<int32_t> block_ids_;
  std::vector<int32_t> first_row_;
  std::vector<HeadRow> head_rows_;
  std::vector<kernels::SamplingRow> sampling_;
  std::vector<kernels::TokenCount> counts_;
  std::vector<kernels::TokenBias> bias_;
  bool wants_routing_ = false;
  bool shared_ = false;
  int32_t block_table_ = 0;  // of the chunk being appended
  struct Item {
    int32_t chunk = 0;
    int32_t plan_row = 0;
  };
  std::vector<Item> items_;
  std::vector<int32_t> start_items_;
  int64_t fixed_rows_ = 0;
  std::vector<kernels::AttentionRow> plan_rows_;
  std::vector<int32_t> step_rows_;
};

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_STEP_BATCH_H_
