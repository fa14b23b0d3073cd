#ifndef CONCLAVE_CLI_PREFLIGHT_NODE_CHECKS_H_
#define CONCLAVE_CLI_PREFLIGHT_NODE_CHECKS_H_

// What a node must have before it loads a model. Each check answers within its own bounded time.

#include <cstdint>
#include <string>
#include <vector>

#include "cli/preflight/node_report.h"

namespace conclave::cli {

// Free memory: of the host, or what its control group leaves if that is less.
CheckResult check_memory(uint64_t required_bytes);

// Reads up to 256 MiB of the model's largest weight file, past the page cache where the kernel
// allows it. minimum_mib_per_s 0: any rate will do.
CheckResult check_model_files(const std::string& model, double minimum_mib_per_s);

struct GpuNeeds {
  int32_t gpus = 0;
  bool other_nodes = false;  // GPUs of one node write each other's memory; beyond it they need NCCL
};
struct GpuLibraries {
  std::string driver = "libcuda.so.1";
  std::string runtime = "libcudart.so.13";  // optional: our kernels hold theirs; one that is there must fit the driver too
  std::string nccl = "libnccl.so.2";
};
// That many GPUs, a driver that is new enough for our kernels and the CUDA libraries, NCCL where it
// is needed.
CheckResult check_gpus(const GpuNeeds& needs, const GpuLibraries& libraries);

struct LinkOptions {
  std::string folder;               // nodes tell one another their addresses there
  std::string node;                 // this one's name
  std::string coordinator_address;  // the interface that leads there is the one that is tested
  int32_t nodes = 1;
  int32_t timeout_ms = 60000;  // for the other nodes to come, and for each transfer
};
// Connects to every other node and sends 16 MiB to the next one; names of nodes that did not answer
// go to *unreachable.
CheckResult check_links(const LinkOptions& options, std::vector<std::string>* unreachable);

}  // namespace conclave::cli

#endif  // CONCLAVE_CLI_PREFLIGHT_NODE_CHECKS_H_
