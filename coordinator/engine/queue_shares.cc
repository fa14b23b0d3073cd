#include "coordinator/engine/queue_shares.h"

#include <algorithm>

namespace conclave::coordinator {

void QueueShares::opened(const std::string& name, int32_t weight) {
  const auto [entry, added] = clients_.try_emplace(name);
  Client& client = entry->second;
  weights_ += weight - (added ? 0 : client.weight);
  client.weight = weight;
  ++client.open;
  ++total_;
}

void QueueShares::closed(const std::string& name) {
  const auto entry = clients_.find(name);
  if (entry == clients_.end()) return;
  --total_;
  if (--entry->second.open > 0) return;
  weights_ -= entry->second.weight;
  clients_.erase(entry);
}

int64_t QueueShares::open(const std::string& name) const {
  const auto entry = clients_.find(name);
  return entry == clients_.end() ? 0 : entry->second.open;
}

int64_t QueueShares::share(const std::string& name, int32_t weight, int64_t capacity) const {
  const auto entry = clients_.find(name);
  const int64_t others = weights_ - (entry == clients_.end() ? 0 : entry->second.weight);
  return std::max<int64_t>(capacity * weight / (others + weight), 1);
}

bool QueueShares::below_share(const std::string& name, int32_t weight, int64_t capacity) const {
  const int64_t mine = open(name);
  return mine < total_ && mine < share(name, weight, capacity);
}

}  // namespace conclave::coordinator
