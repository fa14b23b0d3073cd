#include "kernels/device/thread_pool.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace conclave::kernels {
namespace {

inline void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// The index-th core of those this process may use, wrapping around; -1 if the system does not say.
int allowed_core(int index) {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return -1;
  const int count = CPU_COUNT(&allowed);
  if (count == 0) return -1;
  int left = index % count;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &allowed) && left-- == 0) return core;
  }
  return -1;
}

bool pin(pthread_t thread, int core) {
  if (core < 0) return false;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  return pthread_setaffinity_np(thread, sizeof set, &set) == 0;
}

// Spins until ready() or the time is up; says whether it was ready.
template <typename Ready>
bool spin(int limit_us, Ready&& ready) {
  if (ready()) return true;
  const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(limit_us);
  do {
    for (int i = 0; i < 64; ++i) {
      if (ready()) return true;
      relax();
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

}  // namespace

absl::StatusOr<std::shared_ptr<ThreadPool>> ThreadPool::Create(const ThreadPoolOptions& options) {
  if (options.threads < 1 || options.threads > 1024) {
    return absl::InvalidArgumentError(
        absl::StrCat("thread pool: ", options.threads, " threads; choose between 1 and 1024"));
  }
  std::shared_ptr<ThreadPool> pool(new ThreadPool(options));
  pool->workers_.reserve(static_cast<size_t>(options.threads - 1));
  for (int i = 1; i < options.threads; ++i) {
    try {
      pool->workers_.emplace_back([self = pool.get(), i] { self->worker_loop(i); });
    } catch (const std::system_error& error) {
      return absl::ResourceExhaustedError(absl::StrCat("thread pool: cannot start thread ", i,
                                                       " of ", options.threads, " (", error.what(),
                                                       "); use fewer threads"));
    }
    // A refused pin costs speed only (for example in a container that shrinks its CPU set).
    if (options.first_core >= 0)
      (void)pin(pool->workers_.back().native_handle(), allowed_core(options.first_core + i));
  }
  return pool;
}

ThreadPool::~ThreadPool() {
  stop_.store(true, std::memory_order_release);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

absl::Status ThreadPool::pin_caller() const {
  if (options_.first_core < 0 || pin(pthread_self(), allowed_core(options_.first_core)))
    return absl::OkStatus();
  return absl::FailedPreconditionError(
      "thread pool: the system refused to pin the calling thread to a core");
}

void ThreadPool::run(int64_t count, int64_t grain, void* context, Function function) {
  // The claim word has 32 bits for chunks; larger loops get larger chunks.
  const int64_t smallest = count / std::numeric_limits<int32_t>::max() + 1;
  grain = std::max({grain, smallest, int64_t{1}});
  const int64_t chunks = (count + grain - 1) / grain;
  job_ = {function, context, count, grain, chunks};
  unfinished_.store(static_cast<uint32_t>(chunks), std::memory_order_relaxed);
  const uint64_t loop = (unclaimed_.load(std::memory_order_relaxed) >> 32) + 1;
  unclaimed_.store(loop << 32 | static_cast<uint64_t>(chunks), std::memory_order_release);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  while (run_one_chunk(0)) {
  }
  const auto done = [this] { return unfinished_.load(std::memory_order_acquire) == 0; };
  if (spin(options_.spin_us, done)) return;
  for (uint32_t left; (left = unfinished_.load(std::memory_order_acquire)) != 0;) {
    unfinished_.wait(left, std::memory_order_acquire);
  }
}

bool ThreadPool::run_one_chunk(int thread) {
  uint64_t state = unclaimed_.load(std::memory_order_acquire);
  do {
    if ((state & 0xffffffffu) == 0) return false;
  } while (!unclaimed_.compare_exchange_weak(state, state - 1, std::memory_order_acq_rel,
                                             std::memory_order_acquire));
  const int64_t chunk = job_.chunks - static_cast<int64_t>(state & 0xffffffffu);
  const int64_t begin = chunk * job_.grain;
  job_.function(job_.context, begin, std::min(begin + job_.grain, job_.count), thread);
  if (unfinished_.fetch_sub(1, std::memory_order_acq_rel) == 1) unfinished_.notify_one();
  return true;
}

void ThreadPool::wait_for_work(uint32_t seen) {
  const auto woken = [this, seen] { return generation_.load(std::memory_order_acquire) != seen; };
  if (!spin(options_.spin_us, woken)) generation_.wait(seen, std::memory_order_acquire);
}

void ThreadPool::worker_loop(int thread) {
  for (;;) {
    const uint32_t seen = generation_.load(std::memory_order_acquire);
    if (stop_.load(std::memory_order_acquire)) return;
    while (run_one_chunk(thread)) {
    }
    wait_for_work(seen);
  }
}

}  // namespace conclave::kernels
