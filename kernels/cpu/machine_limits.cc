#include "kernels/cpu/machine_limits.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "kernels/cpu/cpu_features.h"
#include "kernels/cpu/kernel_table.h"
#include "kernels/device/buffer.h"

namespace conclave::kernels {
namespace {

const cpu::KernelTable& best_table() {
  if (cpu::cpu_has(cpu::InstructionSet::kAvx512)) return cpu::avx512_table();
  if (cpu::cpu_has(cpu::InstructionSet::kAvx2)) return cpu::avx2_table();
  return cpu::baseline_table();
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

double measure_read_bandwidth_bytes_per_second(ThreadPool& pool) {
  constexpr size_t kBytes = size_t{512} << 20;
  constexpr int64_t kFloats = static_cast<int64_t>(kBytes / sizeof(float));
  constexpr int64_t kGrain = int64_t{1} << 18;
  constexpr int kRuns = 6;
  auto buffer = Buffer::allocate(kBytes);
  if (!buffer.ok()) return 0;
  auto* data = reinterpret_cast<float*>(buffer->data());
  pool.parallel_for(kFloats, kGrain, [&](int64_t begin, int64_t end, int) {
    std::fill(data + begin, data + end, 1.0f);
  });
  const cpu::KernelTable& table = best_table();
  double best = 0;
  for (int run = 0; run < kRuns; ++run) {
    const auto start = std::chrono::steady_clock::now();
    pool.parallel_for(kFloats, kGrain, [&](int64_t begin, int64_t end, int) {
      // The store keeps the sum from being dropped; one float per chunk.
      data[begin] = table.read_all(data + begin, end - begin) * 0.0f + 1.0f;
    });
    best = std::max(best, static_cast<double>(kBytes) / seconds_since(start));
  }
  return best;
}

double measure_fma_flops_per_second(ThreadPool& pool) {
  constexpr int64_t kIterations = 1 << 20;
  constexpr int kRuns = 8;
  const cpu::KernelTable& table = best_table();
  double best = 0;
  for (int run = 0; run < kRuns; ++run) {
    double operations = 0;
    const auto start = std::chrono::steady_clock::now();
    pool.parallel_for(pool.threads(), 1, [&](int64_t begin, int64_t, int) {
      float sink[2] = {0.5f, 0.5f};
      const double done = table.spin_fma(kIterations, sink);
      if (begin == 0) operations = done;
    });
    best = std::max(best, operations * pool.threads() / seconds_since(start));
  }
  return best;
}

}  // namespace conclave::kernels
