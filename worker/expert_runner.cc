#include "worker/expert_runner.h"

#include <algorithm>

#include "base/status_macros.h"

namespace conclave::worker {

ExpertRunner::ExpertRunner(kernels::KernelSet* kernels, ExpertStore* store, ExpertCostModel* model,
                           const WorkerClock* clock, const Options& options)
    : kernels_(kernels), store_(store), model_(model), clock_(clock), options_(options) {
  call_.reserve(static_cast<size_t>(options.experts));
}

absl::StatusOr<size_t> ExpertRunner::run(int32_t moe_layer, const ExpertGroups& groups,
                                         const kernels::ConstMatrixView& input,
                                         const kernels::MatrixView& output,
                                         const Between* between) {
  ASSIGN_OR_RETURN(const ExpertPins pins, store_->acquire(moe_layer, groups.experts()));
  for (size_t group = 0; group < groups.experts().size(); ++group) {
    if (between != nullptr && call_.empty()) {
      ASSIGN_OR_RETURN(const bool stop, between->stop());
      if (stop) return group;
    }
    const std::span<const int32_t> in_rows = groups.input_rows(group);
    const std::span<const int32_t> out_rows = groups.output_rows(group);
    for (size_t done = 0; done < in_rows.size();) {
      const auto room = static_cast<size_t>(options_.max_call_rows - call_rows_);
      const size_t rows = std::min(in_rows.size() - done, room);
      call_.push_back(
          {pins.weights(group), in_rows.subspan(done, rows), out_rows.subspan(done, rows)});
      done += rows;
      call_rows_ += static_cast<int64_t>(rows);
      call_seconds_ += model_->expert_seconds(static_cast<double>(rows));
      if (call_rows_ == options_.max_call_rows) call(input, output);
    }
    if (between != nullptr && call_seconds_ >= between->piece_seconds) call(input, output);
  }
  if (!call_.empty()) call(input, output);
  return groups.experts().size();
}

void ExpertRunner::call(const kernels::ConstMatrixView& input, const kernels::MatrixView& output) {
  const double begin = (*clock_)();
  kernels_->expert_ffn(call_, input, output);
  model_->observe_experts(call_seconds_, (*clock_)() - begin);
  call_.clear();
  call_rows_ = 0;
  call_seconds_ = 0;
}

}  // namespace conclave::worker
