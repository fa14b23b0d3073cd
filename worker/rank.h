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
#include "worker/executor.h"
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
    WorkerClock clock = steady_worker_clock();
  };
  // Loads the model. Errors are one sentence that says what, where and what to do.
  static absl::StatusOr<std::unique_ptr<Rank>> create(const protocol::Configure& configure,
                                                      std::unique_ptr<kernels::KernelSet> kernels,
                                                      const Environment& environment);

  // One step; every rank of the group must run the same plan. See Executor::run.
  absl::Status run(const protocol::StepPlan& plan) { return executor_->run(plan); }
  void append_result(const protocol::StepPlan& plan, protocol::StepResult* result) const {
    executor_->append_result(plan, result);
  }

  const model::ModelSpec& spec() const { return spec_; }
  const KvCache& kv() const { return kv_; }
  const ExpertStore& experts() const { return *loaded_.experts; }
  protocol::Ready ready() const { return ready_; }

 private:
  Rank() = default;
  absl::Status load_model(const protocol::Configure& configure, const Environment& environment);
  absl::Status make_kv(const protocol::Configure& configure, const Environment& environment);
  absl::Status make_executor(const protocol::Configure& configure, const Environment& environment);

  model::ModelSpec spec_;
  std::unique_ptr<kernels::KernelSet> kernels_;
  std::shared_ptr<const model::Weights> weights_;
  placement::PlacementTable placement_;
  LoadedWeights loaded_;
  KvCache kv_;
  std::unique_ptr<ExpertExchange> exchange_;
  std::unique_ptr<Executor> executor_;
  protocol::Ready ready_;
};

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_RANK_H_
