#ifndef CONCLAVE_WORKER_WORKER_H_
#define CONCLAVE_WORKER_WORKER_H_

// One rank: joins the coordinator, loads its share of the model, then runs step plans until shut down.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/dtype.h"
#include "comm/channel/channel.h"
#include "comm/communicator.h"
#include "kernels/kernel_set.h"
#include "worker/device_rank.h"

namespace conclave::worker {

// Makes the kernel sets this rank can run; the composition root knows which back ends exist.
class KernelSetFactory {
 public:
  virtual ~KernelSetFactory() = default;
  virtual std::vector<std::string> available() const = 0;  // best first
  virtual absl::StatusOr<std::unique_ptr<kernels::KernelSet>> make(const std::string& name, ComputeType compute,
                                                                   int threads, int first_core) = 0;
  // Sets that run on a device of its own; the rank is the `index`-th of its host.
  virtual bool is_device(const std::string& name) const { return false; }
  virtual absl::StatusOr<std::unique_ptr<device::Device>> make_device(const std::string& name,
                                                                      ComputeType compute, int index) {
    return absl::UnimplementedError("this program has no device back end");
  }
  virtual DeviceOptions device_options() const { return {}; }
  // An error: what was asked for cannot be had here at all.
  virtual absl::Status check() const { return absl::OkStatus(); }
};

struct WorkerEnvironment {
  uint32_t group = 0;
  comm::Communicator* communicator = nullptr;  // outlives the call
  comm::Channel* channel = nullptr;            // connected and authenticated; outlives the call
  KernelSetFactory* kernels = nullptr;
  std::string host;
  int ranks_on_host = 1;
  int rank_on_host = 0;
  // Called once, from the health thread, when the coordinator is gone and the step thread did not end by
  // itself within a second: it may be stuck in a collective, so the process should be ended (law 4: no
  // orphans). Null: nothing is done, for ranks that are threads.
  std::function<void(absl::Status)> on_fatal;
};

// Returns OK after Shutdown or when the coordinator went away while idle; an error (also sent as
// Failure on the channel) otherwise. Blocks; runs the step loop on the calling thread.
absl::Status run_worker(const WorkerEnvironment& environment);

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_WORKER_H_
