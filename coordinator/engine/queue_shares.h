#ifndef CONCLAVE_COORDINATOR_ENGINE_QUEUE_SHARES_H_
#define CONCLAVE_COORDINATOR_ENGINE_QUEUE_SHARES_H_

// How many sequences each client has open, and whether one that others have filled the queue
// against may still add to it.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace conclave::coordinator {

// Not thread-safe.
class QueueShares {
 public:
  struct Client {
    int64_t open = 0;  // accepted, not ended
    int32_t weight = 1;
  };

  void opened(const std::string& client, int32_t weight);
  void closed(const std::string& client);
  int64_t total() const { return total_; }
  // Open sequences that are this client's when all want some of `capacity`; at least 1.
  int64_t share(const std::string& client, int32_t weight, int64_t capacity) const;
  int64_t open(const std::string& client) const;
  // In a full queue: others are there, and it has less than its share. So the queue is never longer
  // than twice what it may be.
  bool below_share(const std::string& client, int32_t weight, int64_t capacity) const;
  const std::map<std::string, Client>& clients() const { return clients_; }

 private:
  std::map<std::string, Client> clients_;  // with anything open
  int64_t total_ = 0;
  int64_t weights_ = 0;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ENGINE_QUEUE_SHARES_H_
