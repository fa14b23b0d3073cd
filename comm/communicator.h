#ifndef CONCLAVE_COMM_COMMUNICATOR_H_
#define CONCLAVE_COMM_COMMUNICATOR_H_

// Collectives of one worker group. Implementations: local/ (ranks are threads of one process) and
// mpi/ (Open MPI). Every wait has a deadline; an error names rank, host, layer, operation and age
// (law 4). One communicator is used by one thread. No call allocates once reserve() has been given
// the largest message (law 5).

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/deadline.h"

namespace conclave::comm {

// Names the work of a collective in errors. All ranks call the same collectives in the same order.
struct OpContext {
  std::string_view
      operation;       // "dispatch", "combine", "plan broadcast"; must outlive the operation
  int32_t layer = -1;  // -1: not in a layer
  int64_t step = -1;
  Deadline deadline;
};

// An exchange in flight; a value, from begin_exchange to finish_exchange.
struct ExchangeTicket {
  int32_t slot = -1;
};

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual std::string_view transport() const = 0;  // "local" or "mpi"
  // Host name of a rank, for placement and for error texts.
  virtual const std::string& host(int rank) const = 0;

  // Sizes receive buffers. max_in_flight: exchanges between begin and release at once.
  virtual absl::Status reserve(size_t max_bytes_per_peer, int max_in_flight) = 0;

  // All-to-all of exact sizes without a size round. send[r] goes to rank r (own entry ignored;
  // empty is fine and still counts as a message). The send memory must stay unchanged until
  // finish_exchange.
  virtual absl::StatusOr<ExchangeTicket> begin_exchange(
      const OpContext& context, std::span<const std::span<const std::byte>> send) = 0;
  // Moves traffic along without waiting; true once finish_exchange would not wait. Call it between
  // pieces of computation: without it rendezvous-size messages stall.
  virtual absl::StatusOr<bool> progress(ExchangeTicket ticket) = 0;
  // Waits. received[r] (size() entries, own entry empty) views memory valid until release_exchange.
  virtual absl::Status finish_exchange(ExchangeTicket ticket,
                                       std::span<std::span<const std::byte>> received) = 0;
  virtual void release_exchange(ExchangeTicket ticket) = 0;

  // root's bytes reach all; *bytes is resized on the others.
  virtual absl::Status broadcast(const OpContext& context, int root,
                                 std::vector<std::byte>* bytes) = 0;
  // Every rank's bytes, in rank order, on root; empty elsewhere.
  virtual absl::StatusOr<std::vector<std::vector<std::byte>>> gather(
      const OpContext& context, int root, std::span<const std::byte> bytes) = 0;
  virtual absl::Status barrier(const OpContext& context) = 0;
};

}  // namespace conclave::comm

#endif  // CONCLAVE_COMM_COMMUNICATOR_H_
