#ifndef CONCLAVE_COORDINATOR_ENGINE_SEQUENCE_H_
#define CONCLAVE_COORDINATOR_ENGINE_SEQUENCE_H_

// One journal entry while the scheduler works on it: its text, how much of it has K/V, and where.

#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "coordinator/engine/block_ledger.h"
#include "coordinator/engine/client_shares.h"
#include "coordinator/engine/journal.h"
#include "protocol/step_plan.h"

namespace conclave::coordinator {

class Sequence {
 public:
  // eos_ids and entry outlive the sequence, but for a cancelled one: see abandon().
  Sequence(JournalEntry* entry, std::span<const int32_t> eos_ids);

  SequenceId id() const { return id_; }
  SequenceOrder order() const { return order_; }
  JournalEntry* entry() const { return entry_; }  // null once abandoned
  bool abandoned() const { return entry_ == nullptr; }
  // The journal entry is about to go while rows of this sequence are still in a step.
  void abandon() { entry_ = nullptr; }

  // The text whose K/V must be computed before the next token: prompt and emitted tokens.
  std::span<const int32_t> tokens() const { return tokens_; }
  int32_t length() const { return static_cast<int32_t>(tokens_.size()); }
  int32_t remaining() const { return length() - computed; }  // >= 1 unless max_tokens is 0
  bool decoding() const { return remaining() == 1; }
  bool wants_logits() const { return wants_logits_; }
  // Wants something reported of each prompt row: all rows must be computed, once.
  bool reports_prompt() const { return reports_prompt_; }
  const std::vector<uint64_t>& block_hashes() const { return block_hashes_; }

  // Rows of the next chunk when the budget allows `rows`: a chunk is either reported whole or not
  // at all.
  int32_t clip_rows(int32_t rows) const;
  // At most so many bytes of a step plan are this sequence's, in any step of its life. Constant.
  int64_t max_plan_bytes() const { return max_plan_bytes_; }
  // The next `rows` rows; marks nothing.
  protocol::SequenceChunk make_chunk(int32_t rows) const;

  // --- While the step in flight samples this sequence's next token.
  // The token after that one depends on it by way of the host: penalties count it.
  bool needs_next_token() const { return has_penalties_; }
  // The text ends with it, whatever it is.
  bool ends_with_next(int32_t max_model_len) const;
  // The row of that token, which the rank knows and we do not. The blocks must hold length() + 1
  // tokens.
  protocol::SequenceChunk make_ahead_chunk() const;

  // The sampled token: why the sequence ends with it and whether it belongs to the text.
  struct Verdict {
    bool emit = true;
    std::optional<FinishReason> end;
  };
  Verdict judge(int32_t token, int32_t max_model_len) const;
  void append(int32_t token);  // to the journal as well
  // Forgets K/V (the caller has released the blocks) and starts over from the journal.
  void restart();

  // Managed by the scheduler.
  ClientAccount* client = nullptr;  // whose it is
  int32_t home = -1;
  int32_t computed = 0;  // K/V of tokens[0..computed) is in the blocks
  std::vector<int32_t> blocks;
  int32_t published = 0;     // leading blocks in the prefix cache
  PrefixNode last_node = 0;  // node of blocks[published - 1]
  std::vector<int64_t> rank_hits;  // [ranks] of its prompt so far; empty: not known
  bool settled = false;            // its home was chosen by them
  int32_t steps = 0;               // in flight that have rows of it
  bool announced = false;  // its hashes are in the set of prefixes being computed
  int32_t forced_preemptions = 0;
  bool displaced = false;  // gave its place to another client and has not come back yet
  int32_t paid_until = 0;  // rows before are not charged again: it was displaced after them

 private:
  bool is_stop(int32_t token) const;
  protocol::Sampling make_sampling(int32_t position) const;
  void count(int32_t token, bool in_prompt);
  int64_t bound_plan_bytes() const;

  SequenceId id_;
  SequenceOrder order_;
  JournalEntry* entry_;
  std::span<const int32_t> eos_ids_;
  bool reports_prompt_;
  bool wants_logits_;
  bool has_penalties_;
  int64_t max_plan_bytes_ = 0;
  std::vector<int32_t> tokens_;
  std::vector<uint64_t> block_hashes_;
  std::vector<protocol::TokenCount> counts_;
  std::unordered_map<int32_t, size_t> count_index_;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ENGINE_SEQUENCE_H_
