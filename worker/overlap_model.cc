#include "worker/overlap_model.h"

#include <algorithm>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace conclave::worker {
namespace {

constexpr double kNewestShare = 1.0 / 16;  // of a moving average

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

double ExpertCostModel::repeat_seconds(double rows) const {
  return 2 * expert_seconds(rows) - expert_seconds(2 * rows);
}

void ExpertCostModel::observe_experts(double predicted_seconds, double seconds) {
  if (predicted_seconds <= 0 || seconds <= 0) return;
  const double measured = slowdown_ * seconds / predicted_seconds;
  slowdown_ += kNewestShare * (std::clamp(measured, 0.02, 50.0) - slowdown_);
}

}  // namespace conclave::worker
