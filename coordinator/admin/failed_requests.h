#ifndef CONCLAVE_COORDINATOR_ADMIN_FAILED_REQUESTS_H_
#define CONCLAVE_COORDINATOR_ADMIN_FAILED_REQUESTS_H_

#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <vector>

namespace conclave::coordinator {

struct FailedRequest {
  int64_t number = 0;  // counts the failures since the coordinator started, from 1
  std::string request_id, why;
};

// The last requests that ended with an error, for people who want names. Thread-safe.
class FailedRequests {
 public:
  static constexpr size_t kKept = 32;

  void add(std::string request_id, std::string why);
  // Oldest first.
  std::vector<FailedRequest> list() const;

 private:
  mutable std::mutex mutex_;
  int64_t count_ = 0;
  std::deque<FailedRequest> last_;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ADMIN_FAILED_REQUESTS_H_
