#ifndef CONCLAVE_BASE_DEADLINE_H_
#define CONCLAVE_BASE_DEADLINE_H_

#include <algorithm>
#include <chrono>

namespace conclave {

using SteadyClock = std::chrono::steady_clock;

// A point in time by which a blocking call must end (law 4). Remembers when it was set, so that an
// error can say how long the caller has waited. A value type; safe to copy between threads.
class Deadline {
 public:
  static Deadline after(std::chrono::nanoseconds duration) {
    const auto now = SteadyClock::now();
    return Deadline(now, now + duration);
  }
  static Deadline after_ms(int64_t duration_ms) {
    return after(std::chrono::milliseconds(duration_ms));
  }
  bool expired() const { return SteadyClock::now() >= end_; }
  SteadyClock::time_point time() const { return end_; }
  std::chrono::nanoseconds remaining() const {
    return std::max(std::chrono::nanoseconds(0), std::chrono::nanoseconds(end_ - SteadyClock::now()));
  }
  double age_seconds() const {
    return std::chrono::duration<double>(SteadyClock::now() - start_).count();
  }

 private:
  Deadline(SteadyClock::time_point start, SteadyClock::time_point end) : start_(start), end_(end) {}
  SteadyClock::time_point start_;
  SteadyClock::time_point end_;
};

}  // namespace conclave

#endif  // CONCLAVE_BASE_DEADLINE_H_
