#ifndef CONCLAVE_COORDINATOR_PLACEMENT_ROUTING_RECORDER_H_
#define CONCLAVE_COORDINATOR_PLACEMENT_ROUTING_RECORDER_H_

#include <cstdint>
#include <mutex>
#include <string>

#include "absl/status/status.h"
#include "coordinator/engine/step_recorder.h"
#include "expert_placement/profile/routing_recording.h"

namespace conclave::coordinator {

// Keeps every row that a cluster computes, up to a number of rows, for a file at the end
// (routing_recording.h). Thread-safe.
class RoutingRecorder : public StepRecorder {
 public:
  struct Options {
    int32_t moe_layers = 0, experts = 0, top_k = 0;
    int32_t layers = 0;  // of the model
    placement::WireSizes wire;
    int64_t max_rows = 0;
  };
  explicit RoutingRecorder(const Options& options);

  // False once it is full: the steps that follow are not asked for.
  bool wants_steps() const override;
  void step_ran(const protocol::StepPlan& plan, const protocol::RowRouting& rows,
                const placement::PlacementTable& table) override;

  // What was recorded, rows of a sequence together.
  placement::RoutingRecording recording() const;
  void set_fingerprint(const std::string& fingerprint);
  absl::Status save(const std::string& path) const;

 private:
  bool fill_experts(const protocol::RowRouting& routing, size_t rows);
  int32_t index_of(const placement::PlacementTable& table);

  const int64_t max_rows_;
  mutable std::mutex mutex_;              // guards what follows
  placement::RoutingRecording recorded_;  // in the order of computing
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_PLACEMENT_ROUTING_RECORDER_H_
