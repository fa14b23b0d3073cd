#ifndef CONCLAVE_WORKER_EXPERT_RUNNER_H_
#define CONCLAVE_WORKER_EXPERT_RUNNER_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/kernel_set.h"
#include "worker/expert_groups.h"
#include "worker/expert_store.h"
#include "worker/overlap_model.h"
#include "worker/worker_clock.h"

namespace conclave::worker {

// Runs groups of rows through their experts, in pieces short enough that a transfer in flight is
// moved along in between. How the work is cut changes no bit (law 1). Does not allocate after it is
// made.
class ExpertRunner {
 public:
  struct Options {
    int32_t experts = 0;
    int64_t max_call_rows = 0;  // rows of one kernel call, what KernelSet::reserve was told
  };
  // What happens between pieces while something is in flight.
  struct Between {
    double piece_seconds = 0.001;  // estimated length of a piece
    // Whether to leave the other experts for later; asked before each piece. An error ends the run.
    std::function<absl::StatusOr<bool>()> stop;
  };

  // All outlive the runner.
  ExpertRunner(kernels::KernelSet* kernels, ExpertStore* store, ExpertCostModel* model,
               const WorkerClock* clock, const Options& options);

  // between: null to run everything in as few calls as possible. input act [*, H]; output act
  // [pairs, H]. Returns how many groups, from the first on, were run: all, unless told to stop.
  absl::StatusOr<size_t> run(int32_t moe_layer, const ExpertGroups& groups,
                             const kernels::ConstMatrixView& input,
                             const kernels::MatrixView& output, const Between* between);

 private:
  void call(const kernels::ConstMatrixView& input, const kernels::MatrixView& output);

  kernels::KernelSet* kernels_;
  ExpertStore* store_;
  ExpertCostModel* model_;
  const WorkerClock* clock_;
  Options options_;
  std::vector<kernels::ExpertGroup> call_;
  int64_t call_rows_ = 0;
  double call_seconds_ = 0;  // as the model estimates
};

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_EXPERT_RUNNER_H_
