#include "tests/worker/executor_group.h"

#include <functional>
#include <algorithm>
#include <chrono>
#include <thread>

#include "base/status_macros.h"
#include "comm/local/local_communicator.h"
#include "tests/worker/test_kernel_sets.h"

namespace conclave::worker {
namespace {

// Calls body(rank) on a thread for each rank; the first error in rank order.
absl::Status on_all_ranks(int ranks, const std::function<absl::Status(int)>& body) {
  std::vector<absl::Status> statuses(static_cast<size_t>(ranks));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] { statuses[static_cast<size_t>(rank)] = body(rank); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const absl::Status& status : statuses) RETURN_IF_ERROR(status);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<ExecutorGroup>> ExecutorGroup::create(const GroupOptions& options) {
  std::unique_ptr<ExecutorGroup> group(new ExecutorGroup);
  group->communicators_ = comm::make_local_communicators(options.ranks);
  group->ranks_.resize(static_cast<size_t>(options.ranks));
  for (int rank = 0; rank < options.ranks; ++rank) {
    group->progress_.push_back(std::make_unique<StepProgress>());
  }
  protocol::Configure configure;
  configure.model_path = options.model;
  configure.dummy_shape_json = options.dummy_shape_json;
  configure.compute = options.compute;
  configure.threads = options.threads;
  configure.kv_blocks = options.kv_blocks;
  configure.max_step_tokens = options.max_step_tokens;
  configure.max_model_len = options.max_model_len;
  configure.placement_json = options.placement_json;
  configure.overlap = options.overlap;
  configure.plan = options.plan;
  configure.expert_slots = options.expert_slots;
  RETURN_IF_ERROR(on_all_ranks(options.ranks, [&](int index) -> absl::Status {
    TestKernelSets sets;
    Rank::Environment environment;
    environment.communicator = group->communicators_[static_cast<size_t>(index)].get();
    environment.progress = group->progress_[static_cast<size_t>(index)].get();
    environment.ranks_on_host = options.ranks;
    environment.on_prepared = [group = group.get()](const protocol::Prepared& prepared) {
      const std::lock_guard lock(group->mutex_);
      group->prepared_.push_back(prepared);
      group->prepared_changed_.notify_all();
    };
    std::unique_ptr<Rank>& rank = group->ranks_[static_cast<size_t>(index)];
    if (sets.is_device(options.kernel_set)) {
      ASSIGN_OR_RETURN(auto device,
                       sets.make_device(options.kernel_set, options.compute, index));
      DeviceOptions device_options;
      device_options.graphs = options.graphs;
      ASSIGN_OR_RETURN(
          rank, Rank::create(configure, std::move(device), device_options, environment));
      return absl::OkStatus();
    }
    ASSIGN_OR_RETURN(auto kernels,
                     sets.make(options.kernel_set, options.compute, options.threads, -1));
    ASSIGN_OR_RETURN(rank, Rank::create(configure, std::move(kernels), environment));
    return absl::OkStatus();
  }));
  return group;
}

absl::StatusOr<protocol::StepResult> ExecutorGroup::run(const protocol::StepPlan& plan) {
  RETURN_IF_ERROR(on_all_ranks(size(), [&](int index) { return rank(index).run(plan); }));
  protocol::StepResult result;
  result.step = plan.step;
  for (int index = 0; index < size(); ++index) rank(index).append_result(plan, &result);
  return result;
}

absl::Status ExecutorGroup::wait_prepared(int64_t epoch) {
  std::unique_lock lock(mutex_);
  const auto answered = [&] {
    return std::count_if(prepared_.begin(), prepared_.end(),
                         [&](const auto& answer) { return answer.epoch == epoch; });
  };
  if (!prepared_changed_.wait_for(lock, std::chrono::seconds(30),
                                  [&] { return answered() == size(); })) {
    return absl::DeadlineExceededError("not every rank answered the placement update");
  }
  for (const protocol::Prepared& answer : prepared_) {
    if (!answer.error.empty()) return absl::InternalError(answer.error);
  }
  return absl::OkStatus();
}

}  // namespace conclave::worker
