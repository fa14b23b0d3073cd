#ifndef CONCLAVE_EXPERT_PLACEMENT_SWEEPS_SEARCH_CLOCK_H_
#define CONCLAVE_EXPERT_PLACEMENT_SWEEPS_SEARCH_CLOCK_H_

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>

namespace conclave::placement {

// Tells a search how far it is: the larger of work done and time gone. As long as work comes first
// a search is a function of its seed alone.
class SearchClock {
 public:
  // now: seconds since whenever; null: of the wall.
  explicit SearchClock(double seconds, std::function<bool()> cancelled = {},
                       std::function<double()> now = {})
      : now_(std::move(now)), begin_(time()), seconds_(seconds), cancelled_(std::move(cancelled)) {}
  double elapsed() const { return time() - begin_; }
  double seconds() const { return seconds_; }
  double remaining() const { return seconds_ - elapsed(); }
  bool expired() const { return remaining() <= 0 || (cancelled_ && cancelled_()); }
  // At most so many seconds from now, and cancelled with this one.
  SearchClock limited(double seconds) const {
    return SearchClock(std::min(seconds, remaining()), cancelled_, now_);
  }
  // A part of what remains.
  SearchClock part(double share) const { return limited(remaining() * share); }

 private:
  double time() const {
    if (now_) return now_();
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }

  std::function<double()> now_;
  double begin_;
  double seconds_;
  std::function<bool()> cancelled_;
};

// splitmix64: small, seedable, the same on every machine.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed + 0x9e3779b97f4a7c15ull) {}
  uint64_t next() {
    uint64_t x = state_ += 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
  }
  uint32_t below(uint32_t n) { return static_cast<uint32_t>(((next() >> 32) * n) >> 32); }
  double uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

 private:
  uint64_t state_;
};

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_SWEEPS_SEARCH_CLOCK_H_
