#ifndef CONCLAVE_COORDINATOR_OPENAI_READY_PROBE_H_
#define CONCLAVE_COORDINATOR_OPENAI_READY_PROBE_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "coordinator/engine/engine.h"
#include "coordinator/http/error_response.h"
#include "coordinator/http/http_message.h"

namespace conclave::coordinator {

struct ReadyProbeOptions {
  std::vector<int32_t> canary_prompt{0};
  std::chrono::milliseconds fresh_for{1000};  // one proof counts this long
  std::chrono::milliseconds timeout{5000};    // for the canary token
};

// Answers /ready with {"ready":…,"since":…} and, unless ready, "reason" and "error": 200 only if a token was generated a moment ago, by traffic or by a canary request
// of one token. An engine that is not ready or drains is refused at once. Any thread.
class ReadyProbe : public std::enable_shared_from_this<ReadyProbe> {
 public:
  // engine outlives the probe; last_token_ns: steady clock of the last token of real traffic.
  ReadyProbe(Engine& engine, ReadyProbeOptions options,
             std::shared_ptr<std::atomic<int64_t>> last_token_ns);
  void check(std::shared_ptr<HttpResponder> responder);

 private:
  class Canary;
  bool proven_recently() const;
  void submit_canary();
  void canary_ended(const absl::Status& status);
  void give_up(int64_t round);
  void note_outcome(bool good);  // mutex_ held
  double failing_since();

  Engine& engine_;
  const ReadyProbeOptions options_;
  const std::shared_ptr<std::atomic<int64_t>> last_token_ns_;

  std::mutex mutex_;
  bool in_flight_ = false;
  int64_t round_ = 0;  // of the canary in flight
  double failing_since_ = 0;  // Unix time of the first canary that failed since one did not; 0: none
  std::vector<std::shared_ptr<HttpResponder>> waiting_;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_OPENAI_READY_PROBE_H_
