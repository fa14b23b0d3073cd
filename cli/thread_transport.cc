// Ranks as threads of this process, behind the same transport interface as processes.

#include <chrono>
#include <future>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/status_macros.h"
#include "cli/group_options.h"
#include "cli/kernel_sets.h"
#include "worker/local_group.h"

namespace conclave::cli {

namespace {

using Group = std::shared_ptr<std::unique_ptr<worker::LocalWorkerGroup>>;

// A rank's thread that hangs cannot be ended: after a moment it is left behind, and goes with the process.
void stop(const Group& group, const std::shared_ptr<worker::KernelSetFactory>& factory) {
  constexpr std::chrono::seconds kPatience{2};
  auto ended = std::make_shared<std::promise<void>>();
  std::thread([running = std::move(*group), factory, ended]() mutable {
    running.reset();
    ended->set_value();
  }).detach();
  if (ended->get_future().wait_for(kPatience) == std::future_status::timeout) {
    log_warning("a rank's thread does not end; it is left behind");
  }
}

}  // namespace

std::unique_ptr<coordinator::GroupTransport> make_thread_transport(const GroupOptions& o) {
  const Group group = std::make_shared<std::unique_ptr<worker::LocalWorkerGroup>>();
  auto factory = std::shared_ptr<worker::KernelSetFactory>(make_kernel_set_factory(o.device, o.ranks));
  const int32_t ranks = o.ranks;
  const auto start = [group, factory, ranks]() -> absl::StatusOr<std::vector<std::unique_ptr<comm::ChannelPeer>>> {
    // A device that this machine lacks does not come by trying again.
    if (const absl::Status usable = factory->check(); !usable.ok())
      return absl::FailedPreconditionError(usable.message());
    group->reset();
    *group = worker::LocalWorkerGroup::start(ranks, factory.get());
    return (*group)->take_peers();
  };
  return coordinator::make_in_process_transport(start, [group, factory] { stop(group, factory); });
}

}  // namespace conclave::cli
