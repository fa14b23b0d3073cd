#ifndef CONCLAVE_BENCH_KERNEL_BENCH_H_
#define CONCLAVE_BENCH_KERNEL_BENCH_H_

// The operations of a device back end over the shapes of a model: each is checked, then timed
// beside what the device can copy and multiply in the same run. bfloat16, random data, graph replays
// over inputs that rotate through more than the cache.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/device/device.h"
#include "model/model_spec.h"

namespace conclave::bench {

struct KernelBenchOptions {
  std::vector<int32_t> rows{1, 2, 8, 16, 64, 256, 1024, 4096};
  // experts, matmul, head, rows, sample, attention; empty: all
  std::vector<std::string> only;
};

struct KernelTime {
  std::string operation;
  int32_t rows = 0;
  double microseconds = 0;
  double bytes = 0;  // that must be moved: weights and K/V once, rows in and out
  double flops = 0;
};

struct DeviceRates {
  double copy_bytes_per_second = 0;     // of a large copy, read and written bytes together
  double matmul_flops_per_second = 0;   // the matrix units alone; 0: the back end cannot say
};

struct KernelBenchResult {
  DeviceRates rates;
  std::vector<KernelTime> times;
  // Checks that failed, a sentence each: against float64 on the host (relative L2 at most 4e-3
  // for experts, 1e-5 for products), and rows of a batch against those of the largest, bitwise.
  std::vector<std::string> failures;
  // A hash of the largest batch's expert outputs: equal between builds and tunings of one device.
  uint64_t expert_bits = 0;
};

// `measured` is called after each operation. The device must have been created for bf16 and is given
// scratch here. Errors: those of the device (out of memory, a kernel that failed).
absl::StatusOr<KernelBenchResult> bench_kernels(
    const device::Device& device, const model::ModelSpec& model, const KernelBenchOptions& options,
    const std::function<void(const KernelTime&, const DeviceRates&)>& measured);

}  // namespace conclave::bench

#endif  // CONCLAVE_BENCH_KERNEL_BENCH_H_
