#include "comm/mpi/mpi_communicator.h"

#include <mpi.h>
#include <time.h>

#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "comm/collectives/message_communicator.h"
#include "comm/mpi/mpi_port.h"
#include "comm/mpi/mpi_status.h"

namespace conclave::comm {
namespace {

constexpr int kHostBytes = MPI_MAX_PROCESSOR_NAME + 1;

// MPI's own collectives have no deadline; their non-blocking forms can be polled until one.
absl::Status wait_for_all(MPI_Request* request, const Deadline& deadline, const std::string& what) {
  while (true) {
    int done = 0;
    RETURN_IF_ERROR(mpi_status(MPI_Test(request, &done, MPI_STATUS_IGNORE), what));
    if (done != 0) return absl::OkStatus();
    if (deadline.expired()) {
      char age[40];
      std::snprintf(age, sizeof age, "%.3f s", deadline.age_seconds());
      return absl::DeadlineExceededError(what + ": not all ranks of the job came within " + age);
    }
    const timespec pause{0, 50'000};
    nanosleep(&pause, nullptr);
  }
}

absl::StatusOr<std::vector<std::string>> exchange_host_names(MPI_Comm communicator, int size,
                                                             const std::string& here,
                                                             const Deadline& deadline) {
  // On the heap and leaked on failure: MPI may still write there.
  struct Names {
    std::vector<char> mine, all;
  };
  auto names = std::make_unique<Names>();
  names->mine.resize(kHostBytes);
  names->all.resize(static_cast<size_t>(kHostBytes) * static_cast<size_t>(size));
  here.copy(names->mine.data(), kHostBytes - 1);
  MPI_Request request = MPI_REQUEST_NULL;
  RETURN_IF_ERROR(
      mpi_status(MPI_Iallgather(names->mine.data(), kHostBytes, MPI_CHAR, names->all.data(),
                                kHostBytes, MPI_CHAR, communicator, &request),
                 "MPI_Iallgather"));
  if (absl::Status status = wait_for_all(&request, deadline, "exchange of host names");
      !status.ok()) {
    [[maybe_unused]] Names* leaked = names.release();
    return status;
  }
  std::vector<std::string> hosts;
  for (int r = 0; r < size; ++r) {
    hosts.emplace_back(names->all.data() + static_cast<size_t>(r) * kHostBytes);
  }
  return hosts;
}

std::string processor_name() {
  char name[MPI_MAX_PROCESSOR_NAME + 1] = {};
  int length = 0;
  if (MPI_Get_processor_name(name, &length) != MPI_SUCCESS) return "unknown";
  return std::string(name, static_cast<size_t>(length));
}

absl::Status at_rank(int rank, const std::string& host, const absl::Status& status) {
  return absl::Status(status.code(), "rank " + std::to_string(rank) + " (host " + host +
                                         "): start of the group: " + std::string(status.message()));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Communicator>> make_mpi_communicator(const MpiRuntime& runtime,
                                                                    Deadline deadline) {
  const std::string here = processor_name();
  // On the heap: a duplication that never ends would write to it.
  auto communicator = std::make_unique<MPI_Comm>(MPI_COMM_NULL);
  MPI_Request request = MPI_REQUEST_NULL;
  absl::Status status =
      mpi_status(MPI_Comm_idup(MPI_COMM_WORLD, communicator.get(), &request), "MPI_Comm_idup");
  if (status.ok()) status = wait_for_all(&request, deadline, "making a communicator");
  if (!status.ok()) {
    [[maybe_unused]] MPI_Comm* leaked = communicator.release();
    return at_rank(runtime.rank(), here, status);
  }
  status = mpi_status(MPI_Comm_set_errhandler(*communicator, MPI_ERRORS_RETURN),
                      "MPI_Comm_set_errhandler");
  if (!status.ok()) return at_rank(runtime.rank(), here, status);
  absl::StatusOr<std::vector<std::string>> hosts =
      exchange_host_names(*communicator, runtime.size(), here, deadline);
  if (!hosts.ok()) return at_rank(runtime.rank(), here, hosts.status());
  auto port = std::make_unique<MpiPort>(*communicator, runtime.rank(), *std::move(hosts));
  return std::make_unique<MessageCommunicator>(std::move(port));
}

}  // namespace conclave::comm
