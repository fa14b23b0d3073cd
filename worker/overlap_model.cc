#include "worker/overlap_model.h"

#include <algorithm>
#include <cmath>
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

double OverlapModel::expert_seconds(double rows) const {
  if (rows <= 0) return 0;
  const double reading = shape_.weight_bytes / rates_.bytes_per_second;
  const double multiplying = rows * shape_.flops_per_row / rates_.flops_per_second;
  return slowdown_ * std::max(reading, multiplying);
}

bool OverlapModel::overlap_pays(std::span<const int32_t> local_rows, double remote_rows) const {
  double local_seconds = 0;
  double merged_seconds = 0;
  for (const int32_t rows : local_rows) {
    local_seconds += expert_seconds(rows);
    merged_seconds += expert_seconds(rows + remote_rows);
  }
  // Fewer than one expected row means that some experts get none: then there is nothing to merge.
  const double met = 1 - std::exp(-remote_rows);
  const double remote_seconds =
      static_cast<double>(local_rows.size()) * expert_seconds(std::max(remote_rows, 1.0));
  const double extra = met * std::max(0.0, local_seconds + remote_seconds - merged_seconds);
  return std::min(local_seconds, rates_.exchange_seconds) > extra;
}

void OverlapModel::observe_exchange(double seconds) {
  rates_.exchange_seconds += kNewestShare * (seconds - rates_.exchange_seconds);
}

void OverlapModel::observe_experts(double predicted_seconds, double seconds) {
  if (predicted_seconds <= 0 || seconds <= 0) return;
  const double measured = slowdown_ * seconds / predicted_seconds;
  slowdown_ += kNewestShare * (std::clamp(measured, 0.02, 50.0) - slowdown_);
}

}  // namespace conclave::worker
