#ifndef CONCLAVE_COORDINATOR_ENGINE_ENGINE_OBSERVER_H_
#define CONCLAVE_COORDINATOR_ENGINE_ENGINE_OBSERVER_H_

// What the engine tells whoever measures it. Every call comes on the engine's thread (but
// request_queued and request_refused: on the submitter's) and must return at once. The default does
// nothing.

#include <cstdint>
#include <span>
#include <string>

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

  // Counters; amounts to add. prompt_tokens: rows of prompts computed (recomputed ones included).
  virtual void tokens_computed(int64_t prompt_tokens, int64_t generated_tokens) {}
  virtual void prefix_lookup(int64_t queried_tokens, int64_t hit_tokens) {}
  virtual void request_preempted() {}
  virtual void group_restarted() {}

  // After every step; ranks as the workers reported them, seconds from sending the plan to its
  // result.
  virtual void step_finished(double seconds, std::span<const protocol::RankTiming> ranks) {}
  // Gauges; after every step and when the engine goes idle.
  virtual void load(int32_t running, int32_t waiting, int32_t kv_blocks_used, int32_t kv_blocks) {}
  virtual void group_state(GroupState state) {}
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ENGINE_ENGINE_OBSERVER_H_
