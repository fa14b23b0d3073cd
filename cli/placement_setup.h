#ifndef CONCLAVE_CLI_PLACEMENT_SETUP_H_
#define CONCLAVE_CLI_PLACEMENT_SETUP_H_

// How `serve` and `coordinator` make the placement manager: its flags, and what becomes of them.

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "cli/group_options.h"
#include "coordinator/engine/create_engine.h"
#include "coordinator/placement/placement_manager.h"
#include "coordinator/placement/routing_recorder.h"
#include "model/model_spec.h"

namespace CLI {
class App;
}

namespace conclave::cli {

struct PlacementOptions {
  std::string replan = "off";            // off | auto
  double replan_period_s = 60;
  double replan_cooldown_s = 120;
  std::string objective = "transitions";
  double max_imbalance = 1.15;
  double time_limit_s = 10;
  double migration_share = 0.25;
  std::string profile;                   // file; empty: nothing is known
  double profile_half_life_s = 600;
  int32_t profile_report_ms = 500;       // 0: no routing profile
  int32_t nodes = 1;
  std::string record_routing;            // file; empty: not recorded
  int64_t record_rows = 1000000;
  std::string state_folder;              // where a coordinator before this one left table and profile; empty: nowhere
};

void add_placement_flags(CLI::App& app, PlacementOptions* options);

// Null for a model without routed experts. Adds what the engine must do for it to *engine_options, which may
// hold a table already: it wins over a saved one. The manager must outlive that engine, be attached to it, and be
// stopped before it goes.
absl::StatusOr<std::unique_ptr<coordinator::PlacementManager>> make_placement_manager(
    const PlacementOptions& options, const model::ModelSpec& spec,
    coordinator::EngineOptions* engine_options);

// Null unless --record-routing was given; to be given to the engine and saved when that is gone. INVALID_ARGUMENT: the
// model has no routed experts, ranks compute on GPUs, or the file cannot be written.
absl::StatusOr<std::unique_ptr<coordinator::RoutingRecorder>> make_routing_recorder(
    const PlacementOptions& options, const GroupOptions& group, const model::ModelSpec& spec,
    coordinator::EngineOptions* engine_options);

}  // namespace conclave::cli

#endif  // CONCLAVE_CLI_PLACEMENT_SETUP_H_
