#ifndef CONCLAVE_WORKER_LOCAL_GROUP_H_
#define CONCLAVE_WORKER_LOCAL_GROUP_H_

// A worker group inside this process: every rank runs run_worker() on a thread of its own, with a local
// communicator and a local channel. What `--transport local` is, and tests of the coordinator use.

#include <cstdint>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "comm/channel/channel.h"
#include "comm/communicator.h"
#include "worker/worker.h"

namespace conclave::worker {

class LocalWorkerGroup {
 public:
  // kernels outlives the group; several threads call it.
  static std::unique_ptr<LocalWorkerGroup> start(int ranks, KernelSetFactory* kernels,
                                                 uint32_t group = 0);
  // Closes the ranks' channels, so that idle ranks end, and waits for all of them.
  ~LocalWorkerGroup();
  LocalWorkerGroup(const LocalWorkerGroup&) = delete;
  LocalWorkerGroup& operator=(const LocalWorkerGroup&) = delete;

  // The coordinator's ends of the channels, by rank. Call once.
  std::vector<std::unique_ptr<comm::ChannelPeer>> take_peers() { return std::move(peers_); }
  // Waits until every rank ended; what run_worker() returned, by rank.
  std::vector<absl::Status> join();

 private:
  LocalWorkerGroup() = default;
  std::vector<std::unique_ptr<comm::Communicator>> communicators_;
  std::vector<std::unique_ptr<comm::Channel>> channels_;
  std::vector<std::unique_ptr<comm::ChannelPeer>> peers_;
  std::vector<absl::Status> statuses_;
  std::vector<std::thread> threads_;
};

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_LOCAL_GROUP_H_
