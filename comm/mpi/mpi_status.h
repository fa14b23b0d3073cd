#ifndef CONCLAVE_COMM_MPI_MPI_STATUS_H_
#define CONCLAVE_COMM_MPI_MPI_STATUS_H_

#include <string>

#include "absl/status/status.h"

namespace conclave::comm {

// OK for MPI_SUCCESS; otherwise INTERNAL "WHAT failed: MPI's text".
absl::Status mpi_status(int mpi_code, const std::string& what);

}  // namespace conclave::comm

#endif  // CONCLAVE_COMM_MPI_MPI_STATUS_H_
