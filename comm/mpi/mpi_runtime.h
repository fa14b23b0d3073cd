#ifndef CONCLAVE_COMM_MPI_MPI_RUNTIME_H_
#define CONCLAVE_COMM_MPI_MPI_RUNTIME_H_

#include <chrono>
#include <memory>

#include "absl/status/statusor.h"

namespace conclave::comm {

// MPI from MPI_Init_thread to MPI_Finalize; at most one in the life of a process. Outlives every
// communicator made with it.
class MpiRuntime {
 public:
  // MPI_Finalize waits for the other ranks without a deadline of its own; after this long the
  // process exits instead, which makes Open MPI end the job.
  static constexpr std::chrono::seconds kFinalizeTimeout{10};

  // FAILED_PRECONDITION: MPI was already used in this process, or offers too few threads.
  static absl::StatusOr<std::unique_ptr<MpiRuntime>> create(int* argc, char*** argv);
  // Finalizes. After a failed collective call abort() instead: another rank may never come.
  ~MpiRuntime();
  MpiRuntime(const MpiRuntime&) = delete;
  MpiRuntime& operator=(const MpiRuntime&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }

  // Ends every rank of the job at once; works at any time, from any thread.
  [[noreturn]] static void abort(int exit_code);

 private:
  MpiRuntime(int rank, int size) : rank_(rank), size_(size) {}
  int rank_;
  int size_;
};

}  // namespace conclave::comm

#endif  // CONCLAVE_COMM_MPI_MPI_RUNTIME_H_
