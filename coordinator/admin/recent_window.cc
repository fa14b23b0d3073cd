#include "coordinator/admin/recent_window.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace conclave::coordinator {
namespace {

// 0.25 ms to about 190 s in 40 buckets.
constexpr double kFirstBound = 0.00025;
constexpr double kGrowth = 1.41421356;

const std::array<double, RecentWindow::kBuckets>& bounds() {
  static const auto values = [] {
    std::array<double, RecentWindow::kBuckets> result{};
    double bound = kFirstBound;
    for (double& value : result) {
      value = bound;
      bound *= kGrowth;
    }
    return result;
  }();
  return values;
}

}  // namespace

size_t bucket_of(double seconds) {
  const auto& all = bounds();
  return static_cast<size_t>(std::lower_bound(all.begin(), all.end(), seconds) - all.begin());
}

double bucket_quantile(std::span<const uint32_t> counts, double p) {
  const uint64_t total = std::accumulate(counts.begin(), counts.end(), uint64_t{0});
  if (total == 0) return 0;
  const double wanted = p * static_cast<double>(total);
  double before = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    const double here = counts[i];
    if (here > 0 && before + here >= wanted) {
      if (i >= bounds().size()) return bounds().back();
      const double low = i == 0 ? 0 : bounds()[i - 1];
      return low + (bounds()[i] - low) * std::clamp((wanted - before) / here, 0.0, 1.0);
    }
    before += here;
  }
  return bounds().back();
}

RecentWindow::Slot& RecentWindow::slot_at(double now) {
  const auto second = static_cast<int64_t>(std::floor(now));
  Slot& slot = slots_[static_cast<size_t>(second) % slots_.size()];
  if (slot.second != second) {
    slot = Slot{};
    slot.second = second;
  }
  return slot;
}

void RecentWindow::first_token(double now, double seconds) {
  const std::lock_guard lock(mutex_);
  ++slot_at(now).first[bucket_of(seconds)];
}

void RecentWindow::next_token(double now, double seconds) {
  const std::lock_guard lock(mutex_);
  ++slot_at(now).next[bucket_of(seconds)];
}

void RecentWindow::tokens(double now, int64_t prompt, int64_t generated) {
  const std::lock_guard lock(mutex_);
  Slot& slot = slot_at(now);
  slot.prompt += prompt;
  slot.generated += generated;
}

void RecentWindow::add(const Slot& slot, Slot* sum) {
  sum->prompt += slot.prompt;
  sum->generated += slot.generated;
  for (size_t i = 0; i < slot.first.size(); ++i) {
    sum->first[i] += slot.first[i];
    sum->next[i] += slot.next[i];
  }
}

RecentWindow::Point RecentWindow::point_of(const Slot& sum, double seconds) {
  Point point;
  point.prompt_tokens = static_cast<double>(sum.prompt) / seconds;
  point.generated_tokens = static_cast<double>(sum.generated) / seconds;
  point.first_token_p50 = bucket_quantile(sum.first, 0.5);
  point.first_token_p99 = bucket_quantile(sum.first, 0.99);
  point.next_token_p50 = bucket_quantile(sum.next, 0.5);
  point.next_token_p99 = bucket_quantile(sum.next, 0.99);
  point.first_tokens = std::accumulate(sum.first.begin(), sum.first.end(), int64_t{0});
  return point;
}

RecentWindow::Point RecentWindow::summary(double now, int64_t seconds) const {
  const auto current = static_cast<int64_t>(std::floor(now));
  const int64_t span = std::clamp<int64_t>(seconds, 2, kSeconds);
  const int64_t first = std::max<int64_t>(0, current - span + 1);
  Slot sum;
  {
    const std::lock_guard lock(mutex_);
    for (const Slot& slot : slots_) {
      if (slot.second >= first && slot.second <= current) add(slot, &sum);
    }
  }
  // A rate over less than a second would jump about.
  return point_of(sum, std::max(1.0, now - static_cast<double>(first)));
}

std::vector<RecentWindow::Point> RecentWindow::points(double now) const {
  const auto current = static_cast<int64_t>(std::floor(now));
  std::vector<Point> result(static_cast<size_t>(kSeconds));
  const std::lock_guard lock(mutex_);
  for (const Slot& slot : slots_) {
    const int64_t age = current - slot.second;
    if (slot.second < 0 || age < 1 || age > kSeconds) continue;
    result[static_cast<size_t>(kSeconds - age)] = point_of(slot, 1);
  }
  return result;
}

}  // namespace conclave::coordinator
