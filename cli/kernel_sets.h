#ifndef CONCLAVE_CLI_KERNEL_SETS_H_
#define CONCLAVE_CLI_KERNEL_SETS_H_

#include <memory>
#include <string>

#include "worker/worker.h"

namespace conclave::cli {

inline constexpr char kDeviceHelp[] =
    "auto (a GPU for each rank if there is one), cpu or cuda (fail without)";

// The one place that knows which kernel back ends exist. device: auto, cpu or cuda; the plugin is loaded
// unless it is cpu. ranks_on_host: each needs a GPU of its own ($CONCLAVE_SHARE_GPU=1: not, for tests).
std::unique_ptr<worker::KernelSetFactory> make_kernel_set_factory(const std::string& device,
                                                                  int ranks_on_host);

}  // namespace conclave::cli

#endif  // CONCLAVE_CLI_KERNEL_SETS_H_
