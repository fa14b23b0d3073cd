#ifndef CONCLAVE_COORDINATOR_OPENAI_SUCCESSION_H_
#define CONCLAVE_COORDINATOR_OPENAI_SUCCESSION_H_

// Who answers a request: this server, or the one that takes over from it.

#include <atomic>
#include <memory>
#include <shared_mutex>

#include "coordinator/http/client/http_forwarder.h"
#include "coordinator/http/router.h"

namespace conclave::coordinator {

// Thread-safe.
class Succession {
 public:
  void handle(HttpRequest request, std::shared_ptr<HttpResponder> responder, const Router& own);
  // From its return on, requests go to the successor. Once; later calls do nothing.
  void begin(const HttpEndpoint& successor);
  // Requests that this server answers itself and has not finished, those included that no engine
  // has seen yet.
  int64_t own_open() const { return own_open_->load(); }

 private:
  std::shared_mutex mutex_;
  std::unique_ptr<HttpForwarder> successor_;
  const std::shared_ptr<std::atomic<int64_t>> own_open_ = std::make_shared<std::atomic<int64_t>>(0);
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_OPENAI_SUCCESSION_H_
