#ifndef CONCLAVE_WORKER_DEVICE_EXECUTOR_H_
#define CONCLAVE_WORKER_DEVICE_EXECUTOR_H_

// Runs StepPlans on a device: the plan goes up in one copy, everything in between stays there, and
// the host waits once, for the sampled tokens. Decode steps are captured as graphs, one for each
// bucket of rows and of context, and replayed; padding rows reach no expert and no K/V.
//
// Two decode steps may be on the stream at a time: the second takes the tokens of the first where
// the first leaves them. They share all device memory, since a stream runs in order; what the host
// fills or reads (the plan's block, the results) is there twice.

#include <array>
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

  // Puts the step on the stream, behind the one that is there; at most two. Waits for that one if
  // either is not a decode step. The plan must live until append_result(). Errors as Executor::run.
  absl::Status enqueue(const protocol::StepPlan& plan);
  // Whether the oldest step has ended; does not wait. DEADLINE_EXCEEDED: it should have; its time
  // begins with the first call of done() or finish() for it.
  absl::StatusOr<bool> done();
  // Waits for the oldest step. append_result() is about the one that ended so last.
  absl::Status finish();
  absl::Status run(const protocol::StepPlan& plan);  // enqueue and finish
  void append_result(const protocol::StepPlan& plan, protocol::StepResult* result) const;
  int64_t steps_overlapped() const { return steps_overlapped_; }  // enqueued behind another
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
  struct Flight {  // a step and what the host keeps of it
    Flight(const StepLimits& limits, const Parts& parts, const DeviceLayers* layers,
           const DeviceResults::Shape& shape)
        : batch(limits), results(parts.device, layers, shape) {}
    StepBatch batch;
    DeviceResults results;
    device::OwnedEvent done;
    bool ended = false;  // or nothing was enqueued
    bool overlaps = false;
    bool watched = false;  // progress, faults and the deadline are about this step
    int64_t step = -1;
    int32_t deadline_ms = 0;
    Deadline deadline = Deadline::after_ms(0);
    int looks = 0;
    int32_t exchanged_rows = 0;
    double begin = 0;  // on the worker's clock: of the step, or the end of the one before
    double seconds = 0;
    const char* operation = "plan";
  };
  DeviceExecutor(Parts parts, const Options& options);
  StepLimits step_limits() const;
  DeviceResults::Shape results_shape() const;
  absl::Status reserve();
  Extent extent_of(const protocol::StepPlan& plan);
  absl::Status watch(Flight* flight);
  absl::Status drain();
  absl::Status enqueue_rows(const protocol::StepPlan& plan, const Extent& extent, Flight* flight);
  absl::Status run_eagerly(const protocol::StepPlan& plan, const Extent& extent, Flight* flight);
  absl::Status run_decode(const protocol::StepPlan& plan, const Extent& extent, Flight* flight);
  absl::Status assign(const protocol::StepPlan& plan, const StepBounds& bounds, int32_t max_keys,
                      const Flight& flight);
  absl::Status enqueue_decode();
  absl::Status capture(GraphKey key);
  absl::Status late(const Flight& flight);
  void remember_sampled(const protocol::StepPlan& plan, const StepBatch& batch);
  Flight& oldest() { return flights_[(next_ + flights_.size() - flying_) % flights_.size()]; }
  void enter(Flight* flight, const char* operation);
  const device::DeviceOps& ops() const { return parts_.device->ops(); }
  absl::Status check(device::Status status) const { return parts_.device->check(status); }

  Parts parts_;
  Options options_;
  int32_t piece_rows_;
  PreviousTokens previous_;  // the head row of the step before, instead of the token
  DeviceStep step_;
  DeviceLayers layers_;
  std::array<Flight, 2> flights_;
  size_t next_ = 0;    // of flights_, for the next step
  size_t flying_ = 0;  // on the stream, or ended and not yet finished: those before next_
  size_t last_ = 0;    // of flights_: finished last
  int64_t steps_overlapped_ = 0;
  device::OwnedStream stream_;
  std::map<GraphKey, device::OwnedGraph> graphs_;  // empty handle: seen once, not captured yet
  std::vector<int32_t> rows_of_rank_;
  double last_end_ = 0;
};

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_DEVICE_EXECUTOR_H_
