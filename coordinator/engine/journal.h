#ifndef CONCLAVE_COORDINATOR_ENGINE_JOURNAL_H_
#define CONCLAVE_COORDINATOR_ENGINE_JOURNAL_H_

// What the coordinator remembers of each accepted request, outside the failure domain of the ranks:
// enough to compute it again from nothing without a repeated or missing token (law 3).

#include <cstdint>
#include <map>
#include <vector>

#include "coordinator/engine/engine.h"

namespace conclave::coordinator {

struct JournalEntry {
  SequenceId id = 0;
  GenerationRequest request;          // prompt, parameters, seed
  std::vector<int32_t> emitted;       // tokens the client has been given
  int32_t prompt_reported = 0;        // prompt rows whose PromptPart the client has been given
  int32_t cached_prompt_tokens = -1;  // of the first admission; -1 before
  int32_t replays = 0;                // restarts of the group that it has lived through

  // The text whose K/V must exist before the next token can be sampled: what preemption and replay
  // prefill.
  std::vector<int32_t> recompute_tokens() const;
};

// Entries keep their address while open. Not thread-safe: belongs to the engine's thread.
class Journal {
 public:
  JournalEntry* open(SequenceId id, GenerationRequest request);
  JournalEntry* find(SequenceId id);
  void close(SequenceId id) { entries_.erase(id); }
  bool empty() const { return entries_.empty(); }
  std::map<SequenceId, JournalEntry>& entries() { return entries_; }  // in order of acceptance

 private:
  std::map<SequenceId, JournalEntry> entries_;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ENGINE_JOURNAL_H_
