#include "worker/device_results.h"

#include <cstring>
#include <numeric>

#include "base/status_macros.h"
#include "worker/head_report.h"

namespace conclave::worker {
absl::Status DeviceResults::reserve() {
  results_bytes_ = static_cast<size_t>(shape_.max_head_rows) * sizeof(device::SamplingResult);
  const size_t counts =
      static_cast<size_t>(shape_.moe_layers) * static_cast<size_t>(shape_.experts);
  ASSIGN_OR_RETURN(host_,
                   device_->alloc_pinned(results_bytes_ + counts * sizeof(int32_t), "results"));
  return absl::OkStatus();
}

void DeviceResults::begin() {
  kept_.clear();
  kept_begin_.clear();
  routing_.clear();
  std::memset(host_.data() + results_bytes_, 0, host_.bytes() - results_bytes_);
}

absl::Status DeviceResults::fetch(device::Stream* stream, int32_t head_rows) {
  const device::DeviceOps& ops = device_->ops();
  device::Context* context = device_->context();
  const size_t bytes = static_cast<size_t>(head_rows) * sizeof(device::SamplingResult);
  if (bytes > 0) {
    RETURN_IF_ERROR(
        device_->check(ops.copy(context, stream, host_.data(), layers_->results(), bytes)));
  }
  const size_t count_bytes = host_.bytes() - results_bytes_;
  if (count_bytes == 0) return absl::OkStatus();
  return device_->check(ops.copy(context, stream, host_.data() + results_bytes_,
                                 layers_->expert_counts(), count_bytes));
}

absl::Status DeviceResults::copy_and_wait(device::Stream* stream, void* to, const void* from,
                                          size_t bytes) const {
  const device::DeviceOps& ops = device_->ops();
  RETURN_IF_ERROR(device_->check(ops.copy(device_->context(), stream, to, from, bytes)));
  return device_->check(ops.stream_synchronize(device_->context(), stream));
}

absl::Status DeviceResults::keep_logits(device::Stream* stream, const StepBatch& batch,
                                        int32_t first, int32_t rows) {
  kept_begin_.resize(batch.head_rows().size());
  const auto vocab = static_cast<size_t>(shape_.vocab);
  for (int32_t i = 0; i < rows; ++i) {
    const auto at = static_cast<size_t>(first + i);
    if (batch.head_rows()[at].use != HeadRow::Use::kLogits) continue;
    kept_begin_[at] = kept_.size();
    kept_.resize(kept_.size() + vocab);
    RETURN_IF_ERROR(copy_and_wait(stream, kept_.data() + kept_begin_[at],
                                  layers_->logits() + static_cast<size_t>(i) * vocab,
                                  vocab * sizeof(float)));
  }
  return absl::OkStatus();
}

absl::Status DeviceResults::keep_routing(device::Stream* stream, int64_t rows) {
  routed_rows_ = rows;
  const auto pairs = static_cast<size_t>(rows * shape_.top_k);
  routing_.resize(static_cast<size_t>(shape_.moe_layers) * pairs);
  for (int32_t m = 0; m < shape_.moe_layers && pairs > 0; ++m) {
    RETURN_IF_ERROR(copy_and_wait(stream, routing_.data() + static_cast<size_t>(m) * pairs,
                                  layers_->ids(m), pairs * sizeof(int32_t)));
  }
  return absl::OkStatus();
}

void DeviceResults::append_to(const StepBatch& batch, const protocol::StepPlan& plan, int32_t chunk,
                              protocol::SequenceResult* result) const {
  report_head_rows<device::SamplingResult>(batch, chunk, {results(), batch.head_rows().size()},
                                           kept_, kept_begin_, shape_.vocab, result);
  const protocol::SequenceChunk& of = plan.chunks[static_cast<size_t>(chunk)];
  if (!of.want_routing) return;
  const int64_t first = int64_t{batch.first_row(static_cast<size_t>(chunk))} * shape_.top_k;
  const int64_t count = static_cast<int64_t>(of.tokens.size()) * shape_.top_k;
  for (int64_t m = 0; m < shape_.moe_layers; ++m) {
    const auto begin = routing_.begin() + m * routed_rows_ * shape_.top_k + first;
    result->routing.insert(result->routing.end(), begin, begin + count);
  }
}

int64_t DeviceResults::expert_rows(int32_t moe_layer) const {
  const int32_t* begin = counts() + int64_t{moe_layer} * shape_.experts;
  return std::accumulate(begin, begin + shape_.experts, int64_t{0});
}

}  // namespace conclave::worker
