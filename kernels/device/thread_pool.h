#ifndef CONCLAVE_KERNELS_DEVICE_THREAD_POOL_H_
#define CONCLAVE_KERNELS_DEVICE_THREAD_POOL_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace conclave::kernels {

struct ThreadPoolOptions {
  int threads = 1;      // including the caller of parallel_for; 1 runs everything inline
  int first_core = -1;  // thread i is pinned to the (first_core + i)-th core this process may use;
                        // -1: not pinned
  int spin_us = 50;     // how long an idle thread spins before it sleeps
};

// Threads that run index ranges of one loop at a time. Between loops they spin for a moment, so
// that the next operation of a step finds them awake, and then sleep, so that an idle rank burns no
// core. Thread rule: one thread at a time calls parallel_for; bodies must not call it again.
class ThreadPool {
 public:
  // INVALID_ARGUMENT for a thread count outside [1, 1024]; RESOURCE_EXHAUSTED if a thread cannot be
  // started.
  static absl::StatusOr<std::shared_ptr<ThreadPool>> Create(const ThreadPoolOptions& options);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Pins the calling thread to the core of thread 0. For the thread that runs the steps; does
  // nothing if the pool was created without pinning. FAILED_PRECONDITION if the system refuses.
  absl::Status pin_caller() const;

  // Calls body(begin, end, thread) for disjoint ranges that cover [0, count), and returns when all
  // are done. Ranges have at most `grain` indices, unless there is one thread: then it is one
  // range. `thread` is in [0, threads()); no two running calls share it. Which thread runs which
  // range varies, so the body's results must not depend on it. Allocates nothing.
  template <typename Body>
  void parallel_for(int64_t count, int64_t grain, Body&& body) {
    if (count <= 0) return;
    if (workers_.empty() || count <= grain) {
      body(int64_t{0}, count, 0);
      return;
    }
    run(count, grain, &body, [](void* context, int64_t begin, int64_t end, int thread) {
      (*static_cast<std::remove_reference_t<Body>*>(context))(begin, end, thread);
    });
  }

 private:
  using Function = void (*)(void* context, int64_t begin, int64_t end, int thread);
  struct Job {
    Function function = nullptr;
    void* context = nullptr;
    int64_t count = 0;
    int64_t grain = 0;
    int64_t chunks = 0;
  };

  explicit ThreadPool(const ThreadPoolOptions& options) : options_(options) {}
  void run(int64_t count, int64_t grain, void* context, Function function);
  bool run_one_chunk(int thread);
  void worker_loop(int thread);
  void wait_for_work(uint32_t seen);

  ThreadPoolOptions options_;
  std::vector<std::thread> workers_;
  // Written by the caller between loops only; a thread reads it after it has claimed a chunk, and
  // until that chunk is done the caller cannot have moved on.
  Job job_;
  // Number of the loop in the upper half, chunks not yet claimed in the lower: a thread that wakes
  // up late cannot claim a chunk of a loop it has not seen.
  alignas(64) std::atomic<uint64_t> unclaimed_{0};
  alignas(64) std::atomic<uint32_t> unfinished_{0};
  alignas(64) std::atomic<uint32_t> generation_{0};
  std::atomic<bool> stop_{false};
};

}  // namespace conclave::kernels

#endif  // CONCLAVE_KERNELS_DEVICE_THREAD_POOL_H_
