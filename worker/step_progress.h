#ifndef CONCLAVE_WORKER_STEP_PROGRESS_H_
#define CONCLAVE_WORKER_STEP_PROGRESS_H_

#include <atomic>
#include <chrono>
#include <cstdint>
#include <span>
#include <vector>

namespace conclave::worker {

// What the step thread does now. The step thread writes with a few relaxed stores an operation; any
// thread reads. A reader may mix fields of two neighbouring operations, which a health report can bear.
// The step thread may also keep the operations of a step, for a trace.
class StepProgress {
 public:
  struct Snapshot {
    int64_t step = -1;
    int32_t layer = -1;
    const char* operation = "";
    double age_seconds = 0;
  };
  struct Mark {  // the begin of an operation
    const char* operation = "";
    int32_t layer = -1;
    int64_t at_ns = 0;
  };

  void begin_step(int64_t step) { step_.store(step, std::memory_order_relaxed); }
  // operation: a string literal.
  void enter(const char* operation, int32_t layer = -1) {
    const int64_t now = now_ns();
    layer_.store(layer, std::memory_order_relaxed);
    operation_.store(operation, std::memory_order_relaxed);
    since_ns_.store(now, std::memory_order_relaxed);
    if (tracing_ && marks_.size() < kMostMarks) marks_.push_back({operation, layer, now});
  }
  Snapshot read() const {
    Snapshot snapshot;
    snapshot.step = step_.load(std::memory_order_relaxed);
    snapshot.layer = layer_.load(std::memory_order_relaxed);
    snapshot.operation = operation_.load(std::memory_order_relaxed);
    snapshot.age_seconds =
        static_cast<double>(now_ns() - since_ns_.load(std::memory_order_relaxed)) * 1e-9;
    return snapshot;
  }

  // Step thread only: forgets the marks and keeps those to come, or keeps none. A traced step may
  // allocate here, and only here.
  void trace(bool on) {
    marks_.clear();
    if (on) marks_.reserve(kMostMarks);
    tracing_ = on;
  }
  bool tracing() const { return tracing_; }
  // Ends the trace; the marks stay until the next one. end_ns: when the last operation ended.
  std::span<const Mark> end_trace(int64_t* end_ns) {
    tracing_ = false;
    *end_ns = now_ns();
    return marks_;
  }

 private:
  static constexpr size_t kMostMarks = 16384;
  static int64_t now_ns() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }
  std::atomic<int64_t> step_{-1};
  std::atomic<int32_t> layer_{-1};
  std::atomic<const char*> operation_{"starting"};
  std::atomic<int64_t> since_ns_{now_ns()};
  bool tracing_ = false;
  std::vector<Mark> marks_;
};

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_STEP_PROGRESS_H_
