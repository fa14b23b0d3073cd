#include "comm/mpi/mpi_runtime.h"

#include <mpi.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>

#include "base/log.h"
#include "base/status_macros.h"
#include "comm/mpi/mpi_status.h"

namespace conclave::comm {
namespace {

// Ends the process when it is still there after a time. exit() would run handlers that may wait for
// MPI as well, hence _exit().
class FinalizeGuard {
 public:
  explicit FinalizeGuard(std::chrono::seconds timeout)
      : thread_([this, timeout] { run(timeout); }) {}
  ~FinalizeGuard() {
    {
      std::lock_guard lock(mutex_);
      done_ = true;
    }
    changed_.notify_one();
    thread_.join();
  }

 private:
  void run(std::chrono::seconds timeout) {
    std::unique_lock lock(mutex_);
    if (changed_.wait_for(lock, timeout, [this] { return done_; })) return;
    log_error("MPI_Finalize waits for a rank that does not come; this process ends without it",
              {{"waited_s", std::to_string(timeout.count())}});
    _exit(EXIT_FAILURE);
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
  std::thread thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<MpiRuntime>> MpiRuntime::create(int* argc, char*** argv) {
  int initialized = 0;
  RETURN_IF_ERROR(mpi_status(MPI_Initialized(&initialized), "MPI_Initialized"));
  if (initialized != 0) {
    return absl::FailedPreconditionError("MPI can be started once in a process and already was");
  }
  int provided = MPI_THREAD_SINGLE;
  RETURN_IF_ERROR(
      mpi_status(MPI_Init_thread(argc, argv, MPI_THREAD_MULTIPLE, &provided), "MPI_Init_thread"));
  int rank = 0;
  int size = 0;
  RETURN_IF_ERROR(mpi_status(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN),
                             "MPI_Comm_set_errhandler"));
  RETURN_IF_ERROR(mpi_status(MPI_Comm_rank(MPI_COMM_WORLD, &rank), "MPI_Comm_rank"));
  RETURN_IF_ERROR(mpi_status(MPI_Comm_size(MPI_COMM_WORLD, &size), "MPI_Comm_size"));
  // From here on the destructor finalizes, whatever is returned.
  std::unique_ptr<MpiRuntime> runtime(new MpiRuntime(rank, size));
  if (provided < MPI_THREAD_MULTIPLE) {
    return absl::FailedPreconditionError(
        "this MPI library was built without MPI_THREAD_MULTIPLE; install one that has it");
  }
  return runtime;
}

MpiRuntime::~MpiRuntime() {
  const FinalizeGuard guard(kFinalizeTimeout);
  if (absl::Status status = mpi_status(MPI_Finalize(), "MPI_Finalize"); !status.ok()) {
    log_error(std::string(status.message()));
  }
}

void MpiRuntime::abort(int exit_code) {
  int initialized = 0;
  int finalized = 0;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  if (initialized != 0 && finalized == 0) MPI_Abort(MPI_COMM_WORLD, exit_code);
  _exit(exit_code);
}

}  // namespace conclave::comm
