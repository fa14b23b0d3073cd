#include "worker/local_group.h"

#include <utility>

#include "comm/channel/local_channel.h"
#include "comm/local/local_communicator.h"

namespace conclave::worker {

std::unique_ptr<LocalWorkerGroup> LocalWorkerGroup::start(int ranks, KernelSetFactory* kernels,
                                                          uint32_t group_id) {
  std::unique_ptr<LocalWorkerGroup> group(new LocalWorkerGroup);
  group->communicators_ = comm::make_local_communicators(ranks);
  group->statuses_.resize(static_cast<size_t>(ranks));
  for (int rank = 0; rank < ranks; ++rank) {
    auto [channel, peer] = comm::make_local_channel();
    group->channels_.push_back(std::move(channel));
    group->peers_.push_back(std::move(peer));
  }
  for (int rank = 0; rank < ranks; ++rank) {
    WorkerEnvironment environment;
    environment.group = group_id;
    environment.communicator = group->communicators_[static_cast<size_t>(rank)].get();
    environment.channel = group->channels_[static_cast<size_t>(rank)].get();
    environment.kernels = kernels;
    environment.host = environment.communicator->host(rank);
    environment.ranks_on_host = ranks;
    environment.rank_on_host = rank;
    absl::Status* status = &group->statuses_[static_cast<size_t>(rank)];
    group->threads_.emplace_back([environment, status] {
      *status = run_worker(environment);
      environment.channel->close();  // as the end of a process would
    });
  }
  return group;
}

LocalWorkerGroup::~LocalWorkerGroup() {
  for (const auto& channel : channels_) channel->close();
  join();
}

std::vector<absl::Status> LocalWorkerGroup::join() {
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
  return statuses_;
}

}  // namespace conclave::worker
