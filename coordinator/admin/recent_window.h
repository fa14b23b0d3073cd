#ifndef CONCLAVE_COORDINATOR_ADMIN_RECENT_WINDOW_H_
#define CONCLAVE_COORDINATOR_ADMIN_RECENT_WINDOW_H_

// The last minute, second by second: what `status`, `top` and the live page show without a
// Prometheus beside them.

#include <array>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

namespace conclave::coordinator {

// Thread-safe; a call costs a short lock. Times are seconds since the window was made.
class RecentWindow {
 public:
  static constexpr int64_t kSeconds = 60;
  static constexpr size_t kBuckets = 40;

  struct Point {
    double prompt_tokens = 0, generated_tokens = 0;   // per second
    double first_token_p50 = 0, first_token_p99 = 0;  // seconds; 0 if there was none
    double next_token_p50 = 0, next_token_p99 = 0;
    int64_t first_tokens = 0;
  };

  void first_token(double now, double seconds);
  void next_token(double now, double seconds);
  void tokens(double now, int64_t prompt, int64_t generated);

  // Rates and latencies from the begin of a second up to now: over the last `seconds` seconds or up
  // to one less (2 to kSeconds), or over all time if that is shorter. What happened a moment ago is in it.
  Point summary(double now, int64_t seconds) const;
  // kSeconds points, oldest first.
  std::vector<Point> points(double now) const;

 private:
  using Counts = std::array<uint32_t, kBuckets + 1>;
  struct Slot {
    int64_t second = -1;
    int64_t prompt = 0, generated = 0;
    Counts first{}, next{};
  };
  Slot& slot_at(double now);  // mutex_ held
  static void add(const Slot& slot, Slot* sum);
  static Point point_of(const Slot& sum, double seconds);

  mutable std::mutex mutex_;
  std::array<Slot, kSeconds + 4> slots_;
};

// The p-quantile of counts over buckets whose upper bounds grow by kGrowth from kFirstBound,
// interpolated in a bucket; 0 for no counts. For RecentWindow and its test.
double bucket_quantile(std::span<const uint32_t> counts, double p);
size_t bucket_of(double seconds);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ADMIN_RECENT_WINDOW_H_
