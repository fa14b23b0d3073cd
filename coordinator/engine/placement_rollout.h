#ifndef CONCLAVE_COORDINATOR_ENGINE_PLACEMENT_ROLLOUT_H_
#define CONCLAVE_COORDINATOR_ENGINE_PLACEMENT_ROLLOUT_H_

// Brings a running group from one placement table to another, a few layers at a time: every stage
// loads at most as many experts as a rank has spare slots for, and has an epoch and a consistent
// table of its own. Pure: no threads, clock or I/O; belongs to the engine's thread.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "expert_placement/table/placement_table.h"
#include "protocol/messages.h"
#include "protocol/step_plan.h"

namespace conclave::coordinator {

class PlacementRollout {
 public:
  // table: what the group starts with. It stays the table in force until a step under another has
  // ended.
  explicit PlacementRollout(placement::PlacementTable table) : table_(std::move(table)) {}

  const placement::PlacementTable& table() const { return table_; }
  bool under_way() const { return !stages_.empty(); }
  int64_t target_epoch() const { return table_.epoch() + static_cast<int64_t>(stages_.size()); }
  size_t stages_left() const { return stages_.size(); }

  // A group joined or rejoined with table(). slots: expert slots of a rank in each layer.
  void group_ready(int32_t slots, int32_t spare_slots);
  // The stages that are not done are forgotten; table() stays.
  void group_failed() { reset(); }

  // INVALID_ARGUMENT: not of this shape, or more experts on a rank than it has slots for;
  // FAILED_PRECONDITION: another rollout is under way, or there is no group.
  absl::Status check(const placement::PlacementTable& target) const;
  // What check() says, else begins. A target equal to the table in force is done at once.
  absl::Status begin(const placement::PlacementTable& target);

  // There is something to tell the ranks: the next plan must go out even if it has no rows.
  bool has_news() const;
  // The plan after the one in flight may be made now: it will have nothing to tell, and the epoch
  // in force does not depend on the step in flight.
  bool may_plan_ahead() const { return !has_news() && state_ != State::kSwitching; }
  // Adds epoch and update to the next plan, which will be sent.
  void annotate(protocol::StepPlan* plan);
  // A rank's answer. What it could not prepare ends the rollout (the next plan takes the update
  // back).
  void prepared(int32_t rank, const protocol::Prepared& answer);
  // The result of the annotated plan came. True if it was the first under a new epoch.
  bool step_finished();
  // Why the last rollout ended early; empty if it did not.
  const std::string& failure() const { return failure_; }

 private:
  enum class State : uint8_t { kIdle, kToTell, kLoading, kToSwitch, kSwitching, kToCancel };
  using Stage = std::vector<protocol::LayerPlacement>;
  void reset();
  int32_t most_arrivals(const protocol::LayerPlacement& layer, int32_t rank) const;

  placement::PlacementTable table_;
  int32_t slots_ = 0;  // 0: no group
  int32_t spare_slots_ = 0;
  State state_ = State::kIdle;
  std::vector<Stage> stages_;  // first is next
  std::vector<bool> ready_;    // [ranks] of the stage that loads
  int32_t ready_count_ = 0;
  std::string failure_;
};

// Copies of target that their rank does not hold under `from`.
int64_t arriving_experts(const placement::PlacementTable& from,
                         const placement::PlacementTable& target);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ENGINE_PLACEMENT_ROLLOUT_H_
