#include "worker/overlap_model.h"

#include <algorithm>
#include <bit>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace conclave::worker {
namespace {

constexpr double kNewestShare = 1.0 / 16;  // of a moving average
// Each way is tried this often before one is preferred, and the other again once in so many layers.
constexpr int64_t kTrials = 16;
constexpr int64_t kRetryPeriod = 128;
// A preempted thread must not decide: one measurement counts at most as this multiple of the
// average.
constexpr double kOutlier = 3;
// Overlap must be better by this much, since a wrong yes costs more than a wrong no.
constexpr double kMargin = 0.98;

}  // namespace

absl::StatusOr<OverlapMode> parse_overlap_mode(std::string_view text) {
  if (text == "on") return OverlapMode::kOn;
  if (text == "off") return OverlapMode::kOff;
  if (text == "auto" || text.empty()) return OverlapMode::kAuto;
  return absl::InvalidArgumentError(
      absl::StrCat("overlap is '", std::string(text), "'; expected on, off or auto"));
}

double ExpertCostModel::expert_seconds(double rows) const {
  if (rows <= 0) return 0;
  const double reading = shape_.weight_bytes / rates_.bytes_per_second;
  const double multiplying = rows * shape_.flops_per_row / rates_.flops_per_second;
  return slowdown_ * std::max(reading, multiplying);
}

void ExpertCostModel::observe_experts(double predicted_seconds, double seconds) {
  if (predicted_seconds <= 0 || seconds <= 0) return;
  const double measured = slowdown_ * seconds / predicted_seconds;
  slowdown_ += kNewestShare * (std::clamp(measured, 0.02, 50.0) - slowdown_);
}

bool OverlapChooser::better(const Size& size) {
  return size.ways[1].seconds < kMargin * size.ways[0].seconds;
}

bool OverlapChooser::choose(int64_t local_rows) {
  size_ = nullptr;
  overlap_ = mode_ == OverlapMode::kOn;
  if (mode_ != OverlapMode::kAuto || local_rows <= 0) return overlap_ && local_rows > 0;
  const auto index = static_cast<size_t>(std::bit_width(static_cast<uint64_t>(local_rows)));
  size_ = &sizes_[std::min(index, sizes_.size() - 1)];
  const int64_t layer = size_->layers++;
  if (layer < 2 * kTrials) {
    overlap_ = layer % 2 != 0;
  } else {
    overlap_ = better(*size_) != (layer % kRetryPeriod == 0);
  }
  return overlap_;
}

void OverlapChooser::observe(double seconds) {
  if (size_ == nullptr || seconds < 0) return;
  Way& way = size_->ways[overlap_ ? 1 : 0];
  if (way.samples > 0) seconds = std::min(seconds, kOutlier * way.seconds);
  // A plain mean first, so that the very first (cold) layer does not weigh more than others.
  const double share = std::max(kNewestShare, 1.0 / static_cast<double>(++way.samples));
  way.seconds += share * (seconds - way.seconds);
  size_ = nullptr;
}

}  // namespace conclave::worker
