#include "worker/expert_runner.h"

#include <algorithm>

#include "base/status_macros.h"

namespace conclave::worker {

ExpertRunner::ExpertRunner(kernels::KernelSet* kernels, ExpertStore* store, ExpertCostModel* model,
                           const WorkerClock* clock, const Options& options)
    : kernels_(kernels), store_(store), model_(model), clock_(clock), options_(options) {
  call_.reserve(static_cast<size_t>(options.experts));
}

absl::Status ExpertRunner::run(int32_t moe_layer, const ExpertGroups& groups,
                               const kernels::ConstMatrixView& input,
                               const kernels::MatrixView& output, const Between* between) {
  ASSIGN_OR_RETURN(const ExpertPins pins, store_->acquire(moe_layer, groups.experts()));
  for (size_t group = 0; group < groups.experts().size(); ++group) {
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
      const bool long_enough = between != nullptr && call_seconds_ >= options_.piece_seconds;
      if (call_rows_ == options_.max_call_rows || long_enough) {
        RETURN_IF_ERROR(call(input, output, between));
      }
    }
  }
  return call_.empty() ? absl::OkStatus() : call(input, output, between);
}

absl::Status ExpertRunner::call(const kernels::ConstMatrixView& input,
                                const kernels::MatrixView& output, const Between* between) {
  const double begin = (*clock_)();
  kernels_->expert_ffn(call_, input, output);
  model_->observe_experts(call_seconds_, (*clock_)() - begin);
  call_.clear();
  call_rows_ = 0;
  call_seconds_ = 0;
  return between == nullptr ? absl::OkStatus() : (*between)();
}

}  // namespace conclave::worker
