#ifndef CONCLAVE_TESTS_WORKER_EXECUTOR_GROUP_H_
#define CONCLAVE_TESTS_WORKER_EXECUTOR_GROUP_H_

// The ranks of a group as threads of the test, without channels or a coordinator: plan in, result out.

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "protocol/step_plan.h"
#include "worker/rank.h"

namespace conclave::worker {

struct GroupOptions {
  std::string model;
  std::string dummy_shape_json;  // instead of a model
  std::string kernel_set = "reference";
  ComputeType compute = ComputeType::kF32;
  int ranks = 1;
  int threads = 1;
  std::string placement_json;
  std::string overlap = "auto";
  bool graphs = true;  // of devices
  std::string plan = "fixed";
  int expert_slots = 0;
  int kv_blocks = 64;
  int max_step_tokens = 256;
  int max_model_len = 512;
};

class ExecutorGroup {
 public:
  static absl::StatusOr<std::unique_ptr<ExecutorGroup>> create(const GroupOptions& options);

  // Runs the plan on every rank at once; sequences of all ranks, in rank order. The first error otherwise.
  absl::StatusOr<protocol::StepResult> run(const protocol::StepPlan& plan);
  // Waits until every rank has answered the update of that epoch; the first refusal as an error.
  absl::Status wait_prepared(int64_t epoch);
  Rank& rank(int index) { return *ranks_[static_cast<size_t>(index)]; }
  int size() const { return static_cast<int>(ranks_.size()); }
  const model::ModelSpec& spec() const { return ranks_[0]->spec(); }

 private:
  std::mutex mutex_;
  std::condition_variable prepared_changed_;
  std::vector<protocol::Prepared> prepared_;
  std::vector<std::unique_ptr<comm::Communicator>> communicators_;
  std::vector<std::unique_ptr<StepProgress>> progress_;
  std::vector<std::unique_ptr<Rank>> ranks_;
};

}  // namespace conclave::worker

#endif  // CONCLAVE_TESTS_WORKER_EXECUTOR_GROUP_H_
