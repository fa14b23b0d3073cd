#ifndef CONCLAVE_COMM_MPI_MPI_COMMUNICATOR_H_
#define CONCLAVE_COMM_MPI_MPI_COMMUNICATOR_H_

#include <memory>

#include "absl/status/statusor.h"
#include "base/deadline.h"
#include "comm/communicator.h"
#include "comm/mpi/mpi_runtime.h"

namespace conclave::comm {

// A communicator over all ranks of the MPI job, with a message space of its own. Every rank must
// call this equally often; DEADLINE_EXCEEDED when the others do not.
//
// Destroying it never waits for other ranks. Memory of a send that has not completed (only after a
// failure) may still be read by the transport until the process ends.
absl::StatusOr<std::unique_ptr<Communicator>> make_mpi_communicator(const MpiRuntime& runtime,
                                                                    Deadline deadline);

}  // namespace conclave::comm

#endif  // CONCLAVE_COMM_MPI_MPI_COMMUNICATOR_H_
