// Ranks as threads of this process, behind the same transport interface as processes.

#include <memory>
#include <vector>

#include "base/status_macros.h"
#include "cli/group_options.h"
#include "cli/kernel_sets.h"
#include "worker/local_group.h"

namespace conclave::cli {

std::unique_ptr<coordinator::GroupTransport> make_thread_transport(const GroupOptions& o) {
  auto group = std::make_shared<std::unique_ptr<worker::LocalWorkerGroup>>();
  auto factory = std::shared_ptr<worker::KernelSetFactory>(make_kernel_set_factory());
  const int32_t ranks = o.ranks;
  const auto start = [group, factory, ranks]() -> absl::StatusOr<std::vector<std::unique_ptr<comm::ChannelPeer>>> {
    group->reset();
    *group = worker::LocalWorkerGroup::start(ranks, factory.get());
    return (*group)->take_peers();
  };
  return coordinator::make_in_process_transport(start, [group, factory] { group->reset(); });
}

}  // namespace conclave::cli
