#include "coordinator/engine/journal.h"

#include <utility>

namespace conclave::coordinator {

std::vector<int32_t> JournalEntry::recompute_tokens() const {
  std::vector<int32_t> tokens;
  tokens.reserve(request.prompt.size() + emitted.size());
  tokens.insert(tokens.end(), request.prompt.begin(), request.prompt.end());
  tokens.insert(tokens.end(), emitted.begin(), emitted.end());
  return tokens;
}

JournalEntry* Journal::open(SequenceId id, GenerationRequest request) {
  JournalEntry& entry = entries_[id];
  entry.id = id;
  entry.request = std::move(request);
  return &entry;
}

JournalEntry* Journal::find(SequenceId id) {
  const auto it = entries_.find(id);
  return it == entries_.end() ? nullptr : &it->second;
}

}  // namespace conclave::coordinator
