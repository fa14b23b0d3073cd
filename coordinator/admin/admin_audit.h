#ifndef CONCLAVE_COORDINATOR_ADMIN_ADMIN_AUDIT_H_
#define CONCLAVE_COORDINATOR_ADMIN_ADMIN_AUDIT_H_

// Who changed what through the admin listener, in the log.

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>

#include "coordinator/http/error_response.h"
#include "coordinator/http/http_message.h"

namespace conclave::coordinator {

// Lets `burst` pass, and from then on one a period.
class LogBrake {
 public:
  LogBrake(double burst, std::chrono::nanoseconds period);
  // Now is not before any earlier call's. How many were held back since the last that passed, or
  // -1: hold this one back as well. Thread-safe.
  int64_t pass(std::chrono::steady_clock::time_point now);

 private:
  const double burst_;
  const std::chrono::nanoseconds period_;
  std::mutex mutex_;
  double tokens_;
  int64_t held_back_ = 0;
  std::chrono::steady_clock::time_point last_{};
};

// Thread-safe.
class AdminAudit {
 public:
  // For a request that changes something: a responder that logs one line at info, with what was
  // asked, by whom, and the status, once the answer is there. For others: the responder itself.
  static std::shared_ptr<HttpResponder> follow(const HttpRequest& request,
                                               std::shared_ptr<HttpResponder> responder);
  // A refused attempt, at warning; a flood of them is summed up.
  void refused(const HttpRequest& request, const ApiError& error);

 private:
  LogBrake brake_{10, std::chrono::seconds(5)};
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ADMIN_ADMIN_AUDIT_H_
