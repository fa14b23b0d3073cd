#ifndef CONCLAVE_WORKER_WORKER_CLOCK_H_
#define CONCLAVE_WORKER_WORKER_CLOCK_H_

#include <chrono>
#include <functional>

namespace conclave::worker {

// Seconds since some fixed point; a test gives its own.
using WorkerClock = std::function<double()>;

inline WorkerClock steady_worker_clock() {
  return [] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  };
}

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_WORKER_CLOCK_H_
