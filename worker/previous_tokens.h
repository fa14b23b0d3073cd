#ifndef CONCLAVE_WORKER_PREVIOUS_TOKENS_H_
#define CONCLAVE_WORKER_PREVIOUS_TOKENS_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace conclave::worker {

// The tokens that sequences sampled in the step before on this rank, for plans that were made before
// those tokens were known.
class PreviousTokens {
 public:
  void reserve(size_t sequences) { entries_.reserve(sequences); }
  void clear() { entries_.clear(); }
  void add(uint64_t sequence_id, int32_t token) { entries_.push_back({sequence_id, token}); }
  // To be called after the last add().
  void sort() {
    std::sort(entries_.begin(), entries_.end(),
              [](const Entry& a, const Entry& b) { return a.sequence_id < b.sequence_id; });
  }
  std::optional<int32_t> find(uint64_t sequence_id) const {
    const auto found = std::lower_bound(
        entries_.begin(), entries_.end(), sequence_id,
        [](const Entry& entry, uint64_t id) { return entry.sequence_id < id; });
    if (found == entries_.end() || found->sequence_id != sequence_id) return std::nullopt;
    return found->token;
  }

 private:
  struct Entry {
    uint64_t sequence_id;
    int32_t token;
  };
  std::vector<Entry> entries_;
};

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_PREVIOUS_TOKENS_H_
