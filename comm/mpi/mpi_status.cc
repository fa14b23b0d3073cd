#include "comm/mpi/mpi_status.h"

#include <mpi.h>

namespace conclave::comm {

absl::Status mpi_status(int mpi_code, const std::string& what) {
  if (mpi_code == MPI_SUCCESS) return absl::OkStatus();
  char text[MPI_MAX_ERROR_STRING + 1] = {};
  int length = 0;
  if (MPI_Error_string(mpi_code, text, &length) != MPI_SUCCESS) length = 0;
  return absl::InternalError(what + " failed: " +
                             (length > 0 ? std::string(text, static_cast<size_t>(length))
                                         : "MPI error " + std::to_string(mpi_code)));
}

}  // namespace conclave::comm
