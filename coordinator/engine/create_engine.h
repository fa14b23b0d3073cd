#ifndef CONCLAVE_COORDINATOR_ENGINE_CREATE_ENGINE_H_
#define CONCLAVE_COORDINATOR_ENGINE_CREATE_ENGINE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/engine/engine.h"
#include "coordinator/engine/engine_observer.h"
#include "coordinator/engine/group_transport.h"
#include "coordinator/engine/plan_choice.h"
#include "coordinator/engine/step_recorder.h"
#include "protocol/messages.h"

namespace conclave::coordinator {

struct EngineOptions {
  uint32_t group = 0;
  int32_t ranks = 1;
  std::string transport = "local";  // shown in status(): "local" or "mpi"

  // Sent to every rank when it joins. The engine fills in kernel_set (unless kernel_set is set
  // here: an override), threads and first_core (unless `threads_per_rank` is set), max_step_tokens,
  // max_model_len.
  protocol::Configure configure;
  int32_t threads_per_rank = 0;  // 0: usable cores of the host / ranks on the host, at least 1
  bool pin_threads = true;

  // The routed experts, for placement at run time; empty: the table of the start stays.
  std::vector<int32_t> moe_layers;   // numbers of the MoE layers in the model
  int32_t experts = 0;
  // "coherent" or "auto" (configure.plan): what the choice is made from; ranks and measured figures are
  // filled in when the group is ready.
  PlanCosts plan_costs;
  // "auto": what the routing known so far would send under the table, asked on the engine's thread
  // when the group is ready; nothing known, or null: uniform routing.
  std::function<std::optional<RecordedTraffic>(const placement::PlacementTable&)> recorded_traffic;
  bool match_homes = false;          // see SchedulerOptions
  int32_t routing_report_ms = 0;     // how often ranks report what routers chose; 0: never
  // Called on the engine's thread with what they reported; must return at once.
  std::function<void(std::vector<protocol::RoutingCounts>)> on_routing;

  std::vector<int32_t> eos_ids;      // the model's end-of-text tokens
  int32_t max_model_len = 0;         // prompt + output tokens of one request; must be set
  int32_t vocab = 0;                 // prompt ids must be below; 0: not checked
  int32_t max_running = 256;         // sequences in a step
  int32_t max_queue = 1024;          // accepted requests that are not running
  int32_t max_step_tokens = 2048;    // rows of a step, all ranks together
  int32_t max_rank_step_tokens = 0;  // rows of a step on one rank; 0: max_step_tokens
  bool prefix_cache = true;
  // Plan decode steps while the one before runs (Scheduler::plan_ahead). Nothing: on GPUs, where the
  // round trip is a good part of a step; a CPU's steps are long, and a newcomer waits for one more.
  std::optional<bool> pipeline;
  bool replay_on_failure =
      false;  // re-admit open requests into the restarted group instead of failing them

  int32_t step_deadline_ms = 10000;
  int32_t step_deadline_margin_ms =
      1000;  // past this the coordinator itself declares the group dead
  int32_t heartbeat_timeout_ms = 1500;
  int32_t join_timeout_ms = 60000;    // from start() to the last Join
  int32_t load_timeout_ms = 300000;  // from the last LoadProgress (or Configure) to Ready
  int32_t idle_sleep_ms = 20;
  bool restart = true;               // restart a failed group if the transport can
  int32_t restart_backoff_ms = 200;  // first; doubles up to the next
  int32_t restart_backoff_max_ms = 5000;
  int32_t start_attempts = 0;  // see GroupOptions
  // What a group is asked before it counts as ready (StartupCheck); empty: nothing.
  std::vector<int32_t> startup_prompt;

  EngineObserver* observer = nullptr;          // outlives the engine
  StepRecorder* recorder = nullptr;            // outlives the engine; null: nothing is recorded
  std::optional<uint64_t> force_preempt_seed;  // tests only: preempt running sequences at random
};

// Starts the group and the engine's thread; returns before the group is ready (status().state
// tells). INVALID_ARGUMENT for impossible options.
absl::StatusOr<std::unique_ptr<Engine>> create_engine(EngineOptions options,
                                                      std::unique_ptr<GroupTransport> transport);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ENGINE_CREATE_ENGINE_H_
