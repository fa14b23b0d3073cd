#ifndef CONCLAVE_KERNELS_REFERENCE_REFERENCE_KERNELS_H_
#define CONCLAVE_KERNELS_REFERENCE_REFERENCE_KERNELS_H_

#include <memory>

#include "kernels/kernel_set.h"

namespace conclave::kernels {

// The set named "reference": obvious scalar loops, float64 sums, no threads. It defines what the
// other sets must compute and is the oracle of their tests; it is not meant to be fast.
// Rounding points are those of docs/numerics.md: matmul inputs, K/V and expert rows are act.
std::unique_ptr<KernelSet> make_reference_kernels(ComputeType compute_type);

}  // namespace conclave::kernels

#endif  // CONCLAVE_KERNELS_REFERENCE_REFERENCE_KERNELS_H_
