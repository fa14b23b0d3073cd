#include "comm/mpi/mpi_port.h"

#include <time.h>

#include <algorithm>
#include <utility>

#include "base/status_macros.h"
#include "comm/mpi/mpi_status.h"

namespace conclave::comm {

MpiPort::MpiPort(MPI_Comm communicator, int rank, std::vector<std::string> hosts)
    : communicator_(communicator), rank_(rank), hosts_(std::move(hosts)) {}

MpiPort::~MpiPort() {
  const bool idle = free_.size() == transfers_.size();
  // Freeing a communicator with traffic under way is where MPI libraries wait.
  if (idle) MPI_Comm_free(&communicator_);
}

absl::Status MpiPort::error(int mpi_code, const char* call, int peer) const {
  std::string what(call);
  if (peer >= 0) what += " with rank " + std::to_string(peer) + " (host " + hosts_[peer] + ")";
  return mpi_status(mpi_code, what);
}

absl::Status MpiPort::reserve(size_t max_bytes, int messages) {
  // Sends and receives.
  const size_t count = 2 * static_cast<size_t>(std::max(messages, 0));
  transfers_.reserve(count);
  free_.reserve(count);
  while (transfers_.size() < count) {
    free_.push_back(static_cast<RequestId>(transfers_.size()));
    transfers_.emplace_back();
  }
  return absl::OkStatus();
}

RequestId MpiPort::new_transfer(int peer, bool receiving) {
  if (free_.empty()) {
    free_.push_back(static_cast<RequestId>(transfers_.size()));
    transfers_.emplace_back();
  }
  const RequestId id = free_.back();
  free_.pop_back();
  transfers_[id] = Transfer{};
  transfers_[id].peer = peer;
  transfers_[id].receiving = receiving;
  transfers_[id].in_use = true;
  return id;
}

void MpiPort::recycle(RequestId id) {
  transfers_[id].in_use = false;
  free_.push_back(id);
}

absl::StatusOr<RequestId> MpiPort::start_send(int peer, int tag, std::span<const std::byte> bytes) {
  const RequestId id = new_transfer(peer, /*receiving=*/false);
  const int code = MPI_Isend(bytes.data(), static_cast<int>(bytes.size()), MPI_BYTE, peer, tag,
                             communicator_, &transfers_[id].request);
  if (code != MPI_SUCCESS) {
    recycle(id);
    return error(code, "MPI_Isend", peer);
  }
  return id;
}

absl::StatusOr<bool> MpiPort::probe(int tag, Arrival* arrival) {
  int found = 0;
  MPI_Message message = MPI_MESSAGE_NULL;
  MPI_Status status;
  if (const int code = MPI_Improbe(MPI_ANY_SOURCE, tag, communicator_, &found, &message, &status);
      code != MPI_SUCCESS) {
    return error(code, "MPI_Improbe", -1);
  }
  if (found == 0) return false;
  int bytes = 0;
  if (const int code = MPI_Get_count(&status, MPI_BYTE, &bytes); code != MPI_SUCCESS) {
    return error(code, "MPI_Get_count", status.MPI_SOURCE);
  }
  const RequestId id = new_transfer(status.MPI_SOURCE, /*receiving=*/true);
  transfers_[id].message = message;
  *arrival = Arrival{status.MPI_SOURCE, static_cast<size_t>(bytes), static_cast<uint64_t>(id)};
  return true;
}

absl::StatusOr<RequestId> MpiPort::start_receive(const Arrival& arrival, ByteBuffer* into) {
  const auto id = static_cast<RequestId>(arrival.handle);
  Transfer& transfer = transfers_[id];
  into->resize_for_overwrite(arrival.bytes);
  const int code = MPI_Imrecv(into->data(), static_cast<int>(arrival.bytes), MPI_BYTE,
                              &transfer.message, &transfer.request);
  if (code != MPI_SUCCESS) {
    const int peer = transfer.peer;
    recycle(id);
    return error(code, "MPI_Imrecv", peer);
  }
  return id;
}

absl::StatusOr<bool> MpiPort::test(RequestId request) {
  Transfer& transfer = transfers_[request];
  int done = 0;
  const int code = MPI_Test(&transfer.request, &done, MPI_STATUS_IGNORE);
  if (code != MPI_SUCCESS) {
    const int peer = transfer.peer;
    recycle(request);
    return error(code, "MPI_Test", peer);
  }
  if (done == 0) return false;
  recycle(request);
  return true;
}

void MpiPort::wait(std::chrono::nanoseconds at_most) {
  timespec duration{};
  duration.tv_nsec = static_cast<long>(std::min<int64_t>(at_most.count(), 999'999'999));
  nanosleep(&duration, nullptr);
}

bool MpiPort::abandon() {
  bool memory_in_use = false;
  for (Transfer& transfer : transfers_) {
    if (!transfer.in_use || transfer.request == MPI_REQUEST_NULL) continue;
    int done = 0;
    if (MPI_Test(&transfer.request, &done, MPI_STATUS_IGNORE) == MPI_SUCCESS && done != 0) continue;
    // A matched receive cannot be cancelled, and cancelling a send would wait for the peer: let go.
    memory_in_use = memory_in_use || transfer.receiving;
    MPI_Request_free(&transfer.request);
  }
  return memory_in_use;
}

}  // namespace conclave::comm
