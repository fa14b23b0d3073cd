#ifndef CONCLAVE_CLI_KERNEL_SETS_H_
#define CONCLAVE_CLI_KERNEL_SETS_H_

#include <memory>

#include "worker/worker.h"

namespace conclave::cli {

// The one place that knows which kernel back ends exist.
std::unique_ptr<worker::KernelSetFactory> make_kernel_set_factory();

}  // namespace conclave::cli

#endif  // CONCLAVE_CLI_KERNEL_SETS_H_
