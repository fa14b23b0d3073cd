#ifndef CONCLAVE_KERNELS_CPU_MACHINE_LIMITS_H_
#define CONCLAVE_KERNELS_CPU_MACHINE_LIMITS_H_

#include "kernels/device/thread_pool.h"

namespace conclave::kernels {

// The two ceilings of this machine with the pool's threads, for `conclave bench`: best of several
// runs of the best instruction set available. Take a fraction of a second each.

// Reading memory larger than the caches; 0 if the memory for it cannot be had.
double measure_read_bandwidth_bytes_per_second(ThreadPool& pool);
// Multiply-adds between registers, two operations each.
double measure_fma_flops_per_second(ThreadPool& pool);

}  // namespace conclave::kernels

#endif  // CONCLAVE_KERNELS_CPU_MACHINE_LIMITS_H_
