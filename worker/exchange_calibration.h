#ifndef CONCLAVE_WORKER_EXCHANGE_CALIBRATION_H_
#define CONCLAVE_WORKER_EXCHANGE_CALIBRATION_H_

#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "worker/worker_clock.h"

namespace conclave::worker {

// One exchange of b bytes from this rank to all others together takes latency + b /
// bytes_per_second.
struct ExchangeFigures {
  double latency_seconds = 0;
  double bytes_per_second = 0;
};

// Measures some small and some large exchanges; every rank of the group must call it at the same
// point. Zeros for a group of one rank. Takes milliseconds, seconds at worst.
absl::StatusOr<ExchangeFigures> calibrate_exchange(comm::Communicator* communicator,
                                                   const WorkerClock& clock);

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_EXCHANGE_CALIBRATION_H_
