#ifndef CONCLAVE_WORKER_RANK_H_
#define CONCLAVE_WORKER_RANK_H_

// Everything that one rank holds while it serves: model, weights, K/V, exchange and executor, built from
// what the coordinator configured.

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "kernels/kernel_set.h"
#include "protocol/messages.h"
#include "worker/device_rank.h"
#include "worker/executor.h"
#include "worker/placement_switcher.h"
#include "worker/routing_counter.h"
#include "worker/weight_loader.h"

namespace conclave::worker {

class Rank {
 public:
  struct Environment {
    comm::Communicator* communicator = nullptr;  // outlives the rank
    StepProgress* progress = nullptr;            // outlives the rank
    int32_t ranks_on_host = 1;
    FaultInjection fault;
    std::function<absl::Status(uint64_t done, uint64_t total)> load_progress;
    // Of new placements, called on a thread of the rank's own; may be empty.
    std::function<void(const protocol::Prepared&)> on_prepared;
    WorkerClock clock = steady_worker_clock();
  };
  // Loads the model. Errors are one sentence that says what, where and what to do.
  static absl::StatusOr<std::unique_ptr<Rank>> create(const protocol::Configure& configure,
                                                      std::unique_ptr<kernels::KernelSet> kernels,
                                                      const Environment& environment);

  // The same on a device.
  static absl::StatusOr<std::unique_ptr<Rank>> create(const protocol::Configure& configure,
                                                      std::unique_ptr<device::Device> device,
                                                      const DeviceOptions& options,
                                                      const Environment& environment);
  // One step; every rank of the group must run the same plan. Switches to the plan's placement epoch first,
  // then begins to prepare the plan's update. See Executor::run.
  absl::Status run(const protocol::StepPlan& plan);
  // run() in two halves. A rank whose steps overlap takes a second plan before the first has ended
  // (DeviceExecutor::enqueue); any other has run the step when enqueue() returns.
  absl::Status enqueue(const protocol::StepPlan& plan);
  absl::StatusOr<bool> done();  // the oldest step; does not wait
  absl::Status finish();        // waits for it; append_result() is then about it
  // Whether the plan after this one is to be looked for while it runs. Equal on all ranks.
  bool overlaps(const protocol::StepPlan& plan) const {
    return device_ != nullptr && plan.may_be_followed;
  }
  void append_result(const protocol::StepPlan& plan, protocol::StepResult* result);
  const DeviceRank* device() const { return device_.get(); }  // null: on the CPU

  const model::ModelSpec& spec() const { return spec_; }
  const KvCache& kv() const { return kv_; }
  const ExpertStore& experts() const { return *loaded_.experts; }
  protocol::Ready ready() const { return ready_; }

 private:
  Rank() = default;
  absl::Status enqueue_on_device(const protocol::StepPlan& plan);
  absl::Status open_model(const protocol::Configure& configure, const Environment& environment);
  absl::Status load_model(const protocol::Configure& configure, const Environment& environment);
  absl::Status make_kv(const protocol::Configure& configure, const Environment& environment);
  void make_switcher(const Environment& environment);
  int32_t largest_share() const;
  absl::Status make_executor(const protocol::Configure& configure, const Environment& environment);

  model::ModelSpec spec_;
  std::unique_ptr<kernels::KernelSet> kernels_;
  std::shared_ptr<const model::Weights> weights_;
  placement::PlacementTable placement_;
  LoadedWeights loaded_;
  KvCache kv_;
  std::unique_ptr<ExpertExchange> exchange_;
  std::unique_ptr<CoherentExchange> coherent_;   // null: the group runs the fixed plan only
  std::unique_ptr<PlacementSwitcher> switcher_;  // null: the model has no MoE layer
  std::unique_ptr<RoutingCounter> counter_;      // likewise
  std::unique_ptr<RankHits> rank_hits_;          // likewise
  double switch_seconds_ = 0;
  WorkerClock clock_;
  std::unique_ptr<Executor> executor_;
  std::function<void(const protocol::Prepared&)> on_prepared_;  // of a device
  std::unique_ptr<DeviceRank> device_;  // instead of all between the placement and the executor
  protocol::Ready ready_;
};

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_RANK_H_
