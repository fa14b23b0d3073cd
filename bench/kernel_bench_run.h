#ifndef CONCLAVE_BENCH_KERNEL_BENCH_RUN_H_
#define CONCLAVE_BENCH_KERNEL_BENCH_RUN_H_

// One run of kernel_bench.h; its parts are in files of their own.

#include <functional>
#include <random>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "bench/kernel_bench.h"

namespace conclave::bench {

class KernelBench {
 public:
  using Measured = std::function<void(const KernelTime&, const DeviceRates&)>;
  KernelBench(const device::Device& device, const model::ModelSpec& model,
              const KernelBenchOptions& options, Measured measured);

  absl::StatusOr<KernelBenchResult> run();

 private:
  static constexpr int kRotations = 8;  // sets of inputs a graph runs through

  struct Routing {
    std::vector<int32_t> ids;
    std::vector<float> weights;
    device::Memory device_ids, device_weights, counts, offsets, pairs;
    device::ExpertLists lists{};
  };

  const device::DeviceOps& ops() const { return device_.ops(); }
  device::Context* context() const { return device_.context(); }
  device::Stream* stream() const { return stream_.get(); }
  static device::RowCount rows(int32_t n) { return {n, nullptr}; }
  // The first failure stays; what follows it is of no use and ends soon.
  void ok(device::Status status) {
    if (status_.ok()) status_ = device_.check(status);
  }
  void synchronize() { ok(ops().stream_synchronize(context(), stream())); }
  device::Memory alloc(size_t bytes);
  device::Memory random(int64_t count, DType type, float bound);
  template <typename T>
  static T* as(const device::Memory& memory) {
    return reinterpret_cast<T*>(memory.data());
  }
  template <typename T>
  std::vector<T> fetch(const void* data, size_t count) {
    std::vector<T> out(count);
    ok(ops().copy(context(), stream(), out.data(), data, count * sizeof(T)));
    synchronize();
    return out;
  }
  template <typename T>
  device::Memory put(const std::vector<T>& data) {
    device::Memory memory = alloc(data.size() * sizeof(T));
    if (!status_.ok()) return memory;
    ok(ops().copy(context(), stream(), memory.data(), data.data(), data.size() * sizeof(T)));
    synchronize();
    return memory;
  }
  // Microseconds of one call; `call(i)` runs on input set i.
  double time(const std::function<void(int)>& call);
  // Nothing after a failure.
  void record(const std::string& operation, int32_t rows, double us, double bytes, double flops);
  void check(bool good, const std::string& what) {
    if (!good && status_.ok()) result_.failures.push_back(what);
  }
  bool wanted(const char* part) const;

  absl::Status reserve();
  void measure_rates();
  void make_experts();
  Routing make_routing(int32_t t);
  void bench_experts();
  void check_experts(const Routing& routing, const device::Memory& x, const device::Memory& out,
                     int32_t t);
  void bench_matmul(const char* what, int64_t n, int64_t k, const std::vector<int32_t>& row_counts);
  void check_matmul(const char* what, int64_t n, int64_t k, int32_t t, const std::vector<float>& got,
                    const device::Memory& x, const device::Memory& source);
  void bench_attention(int32_t sequences, int32_t length, int32_t chunk);
  void bench_rows(int32_t t);
  void bench_routing(int32_t t);
  void bench_sampling(int32_t t);

  const device::Device& device_;
  const model::ModelSpec& model_;
  KernelBenchOptions options_;
  Measured measured_;
  device::OwnedStream stream_;
  device::OwnedEvent begin_, end_;
  std::mt19937_64 random_{1};
  uint64_t seed_ = 1;
  absl::Status status_;
  KernelBenchResult result_;
  device::Memory gate_, up_, down_;  // row-major, as a file would have them
  device::Memory packed_up_, packed_down_, slots_;
};

}  // namespace conclave::bench

#endif  // CONCLAVE_BENCH_KERNEL_BENCH_RUN_H_
