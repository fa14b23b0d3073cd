#ifndef CONCLAVE_COORDINATOR_ENGINE_ENGINE_OBSERVER_H_
#define CONCLAVE_COORDINATOR_ENGINE_ENGINE_OBSERVER_H_

// What the engine tells whoever measures it. Every call comes on the engine's thread (but
// request_queued and request_refused: on the submitter's) and must return at once. The default does
// nothing. Requests that are probes (GenerationRequest::probe) show in steps and gauges alone.

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "coordinator/engine/engine.h"
#include "protocol/step_plan.h"

namespace conclave::coordinator {

class EngineObserver {
 public:
  virtual ~EngineObserver() = default;

  virtual void request_queued(int32_t prompt_tokens) {}
  // submit() said no: kResourceExhausted (queue full), kUnavailable, kInvalidArgument.
  virtual void request_refused(absl::StatusCode code) {}
  // First time in a step. cached_tokens: prompt tokens taken from the prefix cache.
  virtual void request_scheduled(double queue_seconds, int32_t prompt_tokens,
                                 int32_t cached_tokens) {}
  virtual void first_token(double seconds_since_queued) {}
  virtual void next_token(double seconds_since_last) {}
  virtual void request_finished(FinishReason reason, double seconds_since_queued,
                                int32_t prompt_tokens, int32_t generated_tokens) {}
  // After request_finished() with kError.
  virtual void request_failed(const std::string& request_id, const absl::Status& why) {}

  // Counters; amounts to add. prompt_tokens: rows of prompts computed (recomputed ones included).
  virtual void tokens_computed(int64_t prompt_tokens, int64_t generated_tokens) {}
  virtual void prefix_lookup(int64_t queried_tokens, int64_t hit_tokens) {}
  virtual void request_preempted() {}
  virtual void group_restarted() {}

  // After every step; ranks as the workers reported them, seconds from sending the plan to its
  // result.
  virtual void step_finished(double seconds, std::span<const protocol::RankTiming> ranks) {}
  // What routers chose since the last report, if ranks are told to report it.
  virtual void routing_reported(std::span<const protocol::RoutingCounts> ranks) {}
  // A new placement is in force; pause: the longest that any rank took to switch.
  virtual void placement_switched(int64_t epoch, double pause_seconds) {}
  // Gauges; after every step and when the engine goes idle.
  virtual void load(int32_t running, int32_t waiting, int32_t kv_blocks_used, int32_t kv_blocks) {}
  virtual void group_state(GroupState state) {}
  // By name, of all clients that have one and anything open, or tokens since the last call; others
  // have nothing. About ten times a second.
  struct ClientLoad {
    int64_t running = 0, waiting = 0;
    int64_t prompt_tokens = 0, generated_tokens = 0;  // counters; to add
  };
  virtual void clients(const std::map<std::string, ClientLoad>& loads) {}

  // A change of the placement table ended, after one epoch or several. result: "applied" or "failed".
  struct Replacement {
    std::string_view result;
    double seconds = 0;        // since it began
    double pause_seconds = 0;  // of all its switches
    int64_t moved_experts = 0;
    int64_t moved_bytes = 0;
  };
  virtual void placement_replaced(const Replacement& replacement) {}
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ENGINE_ENGINE_OBSERVER_H_
