#include "coordinator/admin/failed_requests.h"

#include <utility>

namespace conclave::coordinator {

void FailedRequests::add(std::string request_id, std::string why) {
  const std::lock_guard lock(mutex_);
  if (last_.size() == kKept) last_.pop_front();
  last_.push_back({++count_, std::move(request_id), std::move(why)});
}

std::vector<FailedRequest> FailedRequests::list() const {
  const std::lock_guard lock(mutex_);
  return {last_.begin(), last_.end()};
}

}  // namespace conclave::coordinator
