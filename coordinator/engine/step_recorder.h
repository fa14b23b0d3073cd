#ifndef CONCLAVE_COORDINATOR_ENGINE_STEP_RECORDER_H_
#define CONCLAVE_COORDINATOR_ENGINE_STEP_RECORDER_H_

#include "expert_placement/table/placement_table.h"
#include "protocol/step_plan.h"

namespace conclave::coordinator {

// Whoever wants the routing of whole steps. Called on the engine's thread; must return at once.
class StepRecorder {
 public:
  virtual ~StepRecorder() = default;
  // Asked before a plan goes out: whether ranks shall report it.
  virtual bool wants_steps() const = 0;
  // The result of such a plan came; table: the one that the step ran under.
  virtual void step_ran(const protocol::StepPlan& plan, const protocol::RowRouting& rows,
                        const placement::PlacementTable& table) = 0;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ENGINE_STEP_RECORDER_H_
