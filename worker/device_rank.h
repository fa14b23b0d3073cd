#ifndef CONCLAVE_WORKER_DEVICE_RANK_H_
#define CONCLAVE_WORKER_DEVICE_RANK_H_

// What a rank holds on its device while it serves: weights, K/V, exchange and executor.

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "kernels/device/device.h"
#include "protocol/messages.h"
#include "worker/device_executor.h"
#include "worker/device_weights.h"

namespace conclave::worker {

// Choices that are a rank's own, not the coordinator's.
struct DeviceOptions {
  bool graphs = true;
  int32_t comm_kind = device::kCommAuto;
};

class DeviceRank {
 public:
  struct Parts {  // all but the device outlive the rank
    std::unique_ptr<device::Device> device;
    const model::ModelSpec* spec = nullptr;
    const model::Weights* weights = nullptr;
    const placement::PlacementTable* placement = nullptr;
    comm::Communicator* communicator = nullptr;
    StepProgress* progress = nullptr;
    FaultInjection fault;
    std::function<absl::Status(uint64_t done, uint64_t total)> load_progress;
    WorkerClock clock = steady_worker_clock();
    DeviceOptions options;
  };
  // Loads the weights and takes the device's memory. RESOURCE_EXHAUSTED: they do not fit.
  static absl::StatusOr<std::unique_ptr<DeviceRank>> create(const protocol::Configure& configure,
                                                            Parts parts);

  absl::Status enqueue(const protocol::StepPlan& plan) { return executor_->enqueue(plan); }
  absl::StatusOr<bool> done() { return executor_->done(); }
  absl::Status finish() { return executor_->finish(); }
  void append_result(const protocol::StepPlan& plan, protocol::StepResult* result) const {
    executor_->append_result(plan, result);
  }
  // K/V blocks and bytes, weight bytes.
  void describe(protocol::Ready* ready) const;
  const DeviceExecutor& executor() const { return *executor_; }

 private:
  explicit DeviceRank(Parts parts) : parts_(std::move(parts)) {}
  absl::Status load_weights(const protocol::Configure& configure);
  absl::Status make_exchange(const protocol::Configure& configure);
  absl::Status make_kv(const protocol::Configure& configure);
  absl::Status make_executor(const protocol::Configure& configure);

  Parts parts_;
  DeviceWeights weights_;
  std::unique_ptr<DeviceExchange> exchange_;
  device::Memory kv_;
  int32_t kv_blocks_ = 0;
  std::vector<device::KvLayer> kv_layers_;
  std::unique_ptr<DeviceExecutor> executor_;
};

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_DEVICE_RANK_H_
