#ifndef CONCLAVE_COORDINATOR_PLACEMENT_PLACEMENT_MANAGER_H_
#define CONCLAVE_COORDINATOR_PLACEMENT_PLACEMENT_MANAGER_H_

// Where experts shall live while the cluster runs: keeps the routing profile, makes plans on a
// thread of its own, applies them through the engine, and, if told to, does so by itself when
// balance or locality drift. Thread-safe.

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/engine/engine.h"
#include "coordinator/engine/plan_choice.h"
#include "coordinator/placement/placement_store.h"
#include "coordinator/placement/profile_window.h"
#include "expert_placement/solve.h"

namespace conclave::coordinator {

struct PlanRequest {
  placement::Objective objective = placement::Objective::kTransitions;
  placement::SolverKind solver = placement::SolverKind::kAuto;
  double max_imbalance = 1.15;
  double time_limit_seconds = 10;
  // Slots per rank and layer beyond an equal share; absent: as many as the table in force uses.
  std::optional<int32_t> replicas;
  // Experts that may move; kAnyNumber: all; absent: the share that automatic re-plans keep to.
  std::optional<int64_t> migration_budget;
  static constexpr int64_t kAnyNumber = -1;
};

struct PlannedPlacement {
  std::string id;
  placement::Solution solution;
  int64_t migration_budget = PlanRequest::kAnyNumber;  // that it was made under
  int32_t replicas = 0;                                // that it was made with
  uint64_t bytes_to_move = 0;
  double predicted_pause_seconds = 0;
};

struct AppliedPlacement {
  std::string state;  // "dry_run", "applying" or "unchanged"
  int64_t epoch = 0;  // once it is in force
  int64_t moved_experts = 0;
  uint64_t bytes_to_move = 0;
  double predicted_pause_seconds = 0;
};

struct PlacementView {
  PlacementStatus status;
  std::optional<int64_t> previous_epoch;  // what a rollback would return to
  bool automatic = false;
  std::vector<double> balance;  // [layers] max / mean, on the profile
  double profiled_tokens = 0;
};

// When the manager re-plans by itself. A plan is applied only if it is better by min_gain (or mends
// a balance that is worse than allowed), moves few experts, and the last one has had time to show.
struct AutoReplan {
  bool on = false;
  std::chrono::milliseconds period{60000};
  std::chrono::milliseconds cooldown{120000};
  double min_tokens = 4096;      // in the profile
  double balance_drift = 1.1;    // over max_imbalance: how bad before something is done
  double crossing_drift = 0.05;  // rise of the share of crossing transitions since the last plan
  double min_gain = 0.03;        // relative, of the objective
  double migration_share =
      0.25;  // of all copies; of plans made by hand as well, unless they say other
  PlanRequest request;
};

class PlacementManager {
 public:
  using Solve = std::function<absl::StatusOr<placement::Solution>(const placement::Problem&)>;
  struct Options {
    ProfileWindow::Options window;
    placement::ExpertCost cost;
    AutoReplan automatic;
    Solve solve;
    // Where table and profile are kept for the next coordinator; null: nowhere. Saved when they
    // have changed, every so often and by stop().
    std::shared_ptr<PlacementStore> store;
    std::chrono::milliseconds table_save_period{5000}, profile_save_period{60000};
  };
  // INVALID_ARGUMENT: a shape without MoE layers. attach() must follow before anything else is
  // called.
  static absl::StatusOr<std::unique_ptr<PlacementManager>> create(Options options);
  ~PlacementManager();
  PlacementManager(const PlacementManager&) = delete;
  PlacementManager& operator=(const PlacementManager&) = delete;
  // engine outlives the manager's last use: call stop() before it goes.
  void attach(Engine* engine);
  void stop();
  // A successor has taken over: from now on what is saved is its own.
  void stop_saving();

  // What ranks report; on the engine's thread.
  void add_routing(std::vector<protocol::RoutingCounts> counts);

  PlacementView view() const;
  // Blocks for as long as the solver takes.
  absl::StatusOr<PlannedPlacement> plan(const PlanRequest& request);
  // Runs the task on the manager's thread, for callers that must not block.
  void run_later(std::function<void()> task);
  // NOT_FOUND: no such plan. Other errors: see Engine::apply_placement().
  absl::StatusOr<AppliedPlacement> apply_plan(const std::string& id, bool dry_run);
  absl::StatusOr<AppliedPlacement> apply(const placement::PlacementTable& table, bool dry_run);
  // Back to the table before the last one applied. NOT_FOUND: there is none.
  absl::StatusOr<AppliedPlacement> rollback(bool dry_run);

  placement::RoutingProfile profile() const;
  void set_profiling(bool on);
  bool profiling() const;
  // Goes on from a saved profile instead of what was counted. INVALID_ARGUMENT: of another model or
  // shape.
  absl::Status load_profile(const placement::RoutingProfile& profile);
  // What the profiled routing sends under the table; absent while nothing was counted. Needs no
  // engine.
  std::optional<RecordedTraffic> recorded_traffic(const placement::PlacementTable& table) const;
  // The one that the group runs.
  placement::Plan parallel_plan() const;

 private:
  explicit PlacementManager(Options options, ProfileWindow window);
  void run();
  void consider_replan();
  void save_state(bool with_profile);
  bool drifted(const placement::RoutingProfile& profile,
               const placement::PlacementTable& table) const;
  int64_t default_budget(const placement::PlacementTable& table) const;
  double predicted_pause(const PlacementStatus& status,
                         const placement::PlacementTable& target) const;

  Options options_;
  Engine* engine_ = nullptr;

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  ProfileWindow window_;
  bool profiling_ = true;
  bool stop_ = false;
  bool saving_ = true;
  std::deque<std::function<void()>> tasks_;
  std::vector<protocol::RoutingCounts> arrived_;
  std::deque<std::pair<std::string, placement::PlacementTable>> plans_;  // oldest first
  int64_t next_plan_ = 1;
  std::shared_ptr<const placement::PlacementTable> previous_;
  std::chrono::steady_clock::time_point applied_at_;
  double crossings_at_plan_ = -1;  // < 0: never planned

  std::thread thread_;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_PLACEMENT_PLACEMENT_MANAGER_H_
