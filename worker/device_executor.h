#ifndef CONCLAVE_WORKER_DEVICE_EXECUTOR_H_
#define CONCLAVE_WORKER_DEVICE_EXECUTOR_H_

// Runs StepPlans on a device: the plan goes up in one copy, everything in between stays there, and
// the host waits once, for the sampled tokens. Decode steps are captured as graphs, one for each
// bucket of rows and of context, and replayed; padding rows reach no expert and no K/V.

#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/device/device.h"
#include "model/model_spec.h"
#include "protocol/step_plan.h"
#include "worker/device_layers.h"
#include "worker/device_results.h"
#include "worker/device_step.h"
#include "worker/fault_injection.h"
#include "worker/previous_tokens.h"
#include "worker/step_batch.h"
#include "worker/step_progress.h"
#include "worker/worker_clock.h"

namespace conclave::worker {

class DeviceExecutor {
 public:
  struct Parts {  // all outlive the executor
    const device::Device* device = nullptr;
    const model::ModelSpec* spec = nullptr;
    const DeviceWeights* weights = nullptr;
    DeviceExchange* exchange = nullptr;  // null: one rank, or no MoE layer
    std::vector<device::KvLayer> kv;
    StepProgress* progress = nullptr;
    WorkerClock clock = steady_worker_clock();
  };
  struct Options {
    int32_t rank = 0;
    int32_t ranks = 1;
    int32_t max_step_tokens = 0;
    int32_t max_model_len = 0;
    int32_t kv_blocks = 0;
    bool graphs = true;
    FaultInjection fault;
  };
  static absl::StatusOr<std::unique_ptr<DeviceExecutor>> create(Parts parts,
                                                                const Options& options);

  // Rows whose logits are made at once, for device::Limits::max_head_rows.
  static int32_t piece_rows(const model::ModelSpec& spec, int32_t max_step_tokens);

  // As Executor::run and Executor::append_result.
  absl::Status run(const protocol::StepPlan& plan);
  void append_result(const protocol::StepPlan& plan, protocol::StepResult* result) const;
  int64_t graphs_captured() const { return static_cast<int64_t>(graphs_.size()); }

 private:
  // What the ranks of a group agree on for a step by looking at the whole plan.
  struct Extent {
    int32_t rows = 0;  // of the rank that has most
    int32_t own_chunks = 0;
    int32_t max_keys = 0;
    bool decode = true;  // one row a chunk, and nothing wanted but the sampled token
  };
  struct GraphKey {
    int32_t rows;
    int32_t max_keys;
    bool operator<(const GraphKey& other) const {
      return rows != other.rows ? rows < other.rows : max_keys < other.max_keys;
    }
  };
  DeviceExecutor(Parts parts, const Options& options);
  absl::Status reserve();
  Extent extent_of(const protocol::StepPlan& plan);
  absl::Status run_eagerly(const protocol::StepPlan& plan, const Extent& extent);
  absl::Status run_decode(const protocol::StepPlan& plan, const Extent& extent);
  absl::Status assign(const protocol::StepPlan& plan, const StepBounds& bounds, int32_t max_keys);
  absl::Status enqueue_decode();
  absl::Status capture(GraphKey key);
  absl::Status wait(const protocol::StepPlan& plan);
  void remember_sampled(const protocol::StepPlan& plan);
  const device::DeviceOps& ops() const { return parts_.device->ops(); }
  absl::Status check(device::Status status) const { return parts_.device->check(status); }

  Parts parts_;
  Options options_;
  int32_t piece_rows_;
  StepBatch batch_;
  PreviousTokens previous_;  // the head row of the step before, instead of the token
  DeviceStep step_;
  DeviceLayers layers_;
  DeviceResults results_;
  device::OwnedStream stream_;
  device::OwnedEvent done_;
  std::map<GraphKey, device::OwnedGraph> graphs_;  // empty handle: seen once, not captured yet
  std::vector<int32_t> rows_of_rank_;
  int32_t exchanged_rows_ = 0;
  double step_seconds_ = 0;
};

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_DEVICE_EXECUTOR_H_
