#ifndef CONCLAVE_COMM_LOCAL_LOCAL_COMMUNICATOR_H_
#define CONCLAVE_COMM_LOCAL_LOCAL_COMMUNICATOR_H_

// A worker group inside one process: each rank is a thread with a communicator of its own.

#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.h"

namespace conclave::comm {

// Thread-safe. Communicators keep what they need of the group alive.
class LocalGroup {
 public:
  // hosts: one name a rank; empty: all are on "localhost". size >= 1.
  explicit LocalGroup(int size, std::vector<std::string> hosts = {});

  // Call once for each rank.
  std::unique_ptr<Communicator> make_communicator(int rank);

  // From now on nothing that this rank sends arrives and nothing arrives at it, as if its machine
  // had hung; what it sent before stays readable. For tests of deadlines.
  void stop_responding(int rank);

 private:
  std::shared_ptr<class LocalExchange> exchange_;
};

// Element r is rank r's; all ranks on host "localhost".
std::vector<std::unique_ptr<Communicator>> make_local_communicators(int size);

}  // namespace conclave::comm

#endif  // CONCLAVE_COMM_LOCAL_LOCAL_COMMUNICATOR_H_
