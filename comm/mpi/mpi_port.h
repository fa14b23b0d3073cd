#ifndef CONCLAVE_COMM_MPI_MPI_PORT_H_
#define CONCLAVE_COMM_MPI_MPI_PORT_H_

#include <mpi.h>

#include <string>
#include <vector>

#include "comm/collectives/message_port.h"

namespace conclave::comm {

// Point-to-point messages of one MPI communicator. Receives are matched by MPI_Improbe, which also
// says the size, so no round of counts is needed. Every call polls, none waits inside MPI.
class MpiPort final : public MessagePort {
 public:
  // hosts: one name a rank. Owns `communicator`, which must return errors instead of aborting.
  MpiPort(MPI_Comm communicator, int rank, std::vector<std::string> hosts);
  ~MpiPort() override;
  MpiPort(const MpiPort&) = delete;
  MpiPort& operator=(const MpiPort&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(hosts_.size()); }
  std::string_view transport() const override { return "mpi"; }
  const std::string& host(int rank) const override { return hosts_[rank]; }

  absl::Status reserve(size_t max_bytes, int messages) override;
  absl::StatusOr<RequestId> start_send(int peer, int tag,
                                       std::span<const std::byte> bytes) override;
  absl::StatusOr<bool> probe(int tag, Arrival* arrival) override;
  absl::StatusOr<RequestId> start_receive(const Arrival& arrival, ByteBuffer* into) override;
  absl::StatusOr<bool> test(RequestId request) override;
  void wait(std::chrono::nanoseconds at_most) override;
  bool abandon() override;

 private:
  struct Transfer {
    MPI_Request request = MPI_REQUEST_NULL;
    MPI_Message message = MPI_MESSAGE_NULL;  // between probe() and start_receive()
    int peer = -1;
    bool receiving = false;
    bool in_use = false;
  };
  RequestId new_transfer(int peer, bool receiving);
  void recycle(RequestId id);
  // Built on failure only: the good path must not allocate.
  absl::Status error(int mpi_code, const char* call, int peer) const;

  MPI_Comm communicator_;
  int rank_;
  std::vector<std::string> hosts_;
  std::vector<Transfer> transfers_;
  std::vector<RequestId> free_;
};

}  // namespace conclave::comm

#endif  // CONCLAVE_COMM_MPI_MPI_PORT_H_
