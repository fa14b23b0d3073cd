#include "bench/kernel_bench.h"

#include <algorithm>
#include <utility>

#include "base/status_macros.h"
#include "bench/kernel_bench_run.h"

namespace conclave::bench {

using device::Memory;

KernelBench::KernelBench(const device::Device& device, const model::ModelSpec& model,
                         const KernelBenchOptions& options, Measured measured)
    : device_(device), model_(model), options_(options), measured_(std::move(measured)) {
  std::sort(options_.rows.begin(), options_.rows.end());
}

Memory KernelBench::alloc(size_t bytes) {
  if (!status_.ok()) return Memory();
  absl::StatusOr<Memory> memory = device_.alloc(bytes, "the benchmark");
  status_ = memory.status();
  return status_.ok() ? *std::move(memory) : Memory();
}

Memory KernelBench::random(int64_t count, DType type, float bound) {
  Memory memory = alloc(static_cast<size_t>(count) * dtype_bytes(type));
  if (!status_.ok()) return memory;
  ok(ops().fill_random(context(), stream(), memory.data(), static_cast<int32_t>(type), count,
                       ++seed_, bound));
  return memory;
}

double KernelBench::time(const std::function<void(int)>& call) {
  call(0);
  synchronize();
  if (!status_.ok()) return 0;
  ok(ops().graph_begin(context(), stream()));
  for (int i = 0; i < kRotations; ++i) call(i);
  device::Graph* handle = nullptr;
  ok(ops().graph_end(context(), stream(), &handle));
  if (!status_.ok()) return 0;
  const device::OwnedGraph graph(&device_, handle);
  std::vector<float> times;
  double total = 0;
  for (int i = 0; i < 40 && (i < 5 || total < 120); ++i) {
    ok(ops().event_record(context(), stream(), begin_.get()));
    ok(ops().graph_launch(context(), stream(), graph.get()));
    ok(ops().event_record(context(), stream(), end_.get()));
    synchronize();
    float ms = 0;
    ok(ops().event_elapsed_ms(context(), begin_.get(), end_.get(), &ms));
    if (i > 0) times.push_back(ms);
    total += static_cast<double>(ms);
  }
  std::sort(times.begin(), times.end());
  return static_cast<double>(times[times.size() / 2]) * 1e3 / kRotations;
}

void KernelBench::record(const std::string& operation, int32_t rows, double us, double bytes,
                         double flops) {
  if (!status_.ok()) return;
  result_.times.push_back({operation, rows, us, bytes, flops});
  measured_(result_.times.back(), result_.rates);
}

bool KernelBench::wanted(const char* part) const {
  return status_.ok() && (options_.only.empty() || std::find(options_.only.begin(), options_.only.end(), part) != options_.only.end());
}

void KernelBench::measure_rates() {
  constexpr size_t kBytes = size_t{1} << 30;
  const Memory a = random(kBytes / 2, DType::kBF16, 1), b = alloc(kBytes);
  // A kernel's copy (16 bytes per thread) and the driver's; the faster one is the ceiling.
  const double kernel = time([&](int) {
    ok(ops().convert(context(), stream(), a.data(), device::kTypeBF16, b.data(), device::kTypeBF16,
                     kBytes / 2));
  });
  const double driver =
      time([&](int) { ok(ops().copy(context(), stream(), b.data(), a.data(), kBytes)); });
  if (!status_.ok()) return;
  result_.rates.copy_bytes_per_second = 2.0 * kBytes / std::min(kernel, driver) * 1e6;
  // About 5 ms a call, longer than the clock needs to settle under this load.
  constexpr int32_t kSteps = 6000;
  double flops = 0;
  if (ops().matmul_peak(context(), stream(), kSteps, &flops) != device::kOk) return;
  const double us =
      time([&](int) { ok(ops().matmul_peak(context(), stream(), kSteps, &flops)); });
  if (status_.ok()) result_.rates.matmul_flops_per_second = flops / us * 1e6;
}

absl::Status KernelBench::reserve() {
  device::Limits limits{};
  const int64_t most = std::max(options_.rows.back(), 4096);
  limits.max_rows = most;
  limits.max_expert_rows = most * model_.top_k;
  limits.hidden = model_.hidden;
  limits.max_intermediate = model_.expert_width;
  limits.vocab = model_.vocab;
  limits.max_positions = 65536;
  limits.max_head_rows = 256;
  limits.max_experts = model_.experts;
  limits.max_top_k = model_.top_k;
  limits.max_heads = model_.heads;
  limits.max_head_dim = model_.head_dim;
  return device_.check(ops().reserve(context(), &limits));
}

absl::StatusOr<KernelBenchResult> KernelBench::run() {
  ASSIGN_OR_RETURN(stream_, device_.make_stream(false));
  ASSIGN_OR_RETURN(begin_, device_.make_event(true));
  ASSIGN_OR_RETURN(end_, device_.make_event(true));
  RETURN_IF_ERROR(reserve());
  measure_rates();
  if (wanted("experts")) bench_experts();
  const int64_t q = int64_t{model_.heads} * model_.head_dim;
  const int64_t kv = int64_t{model_.kv_heads} * model_.head_dim;
  if (wanted("matmul")) {
    bench_matmul("qkv", q + 2 * kv, model_.hidden, options_.rows);
    bench_matmul("o", model_.hidden, q, options_.rows);
  }
  if (wanted("head")) bench_matmul("head", model_.vocab, model_.hidden, {1, 8, 64, 256});
  if (wanted("rows")) {
    for (const int32_t t : {1, 64, 256, 4096}) {
      bench_rows(t);
      bench_routing(t);
    }
  }
  if (wanted("sample")) {
    for (const int32_t t : {1, 64}) bench_sampling(t);
  }
  if (wanted("attention")) {
    for (const int32_t s : {1, 8, 64, 128}) bench_attention(s, 1024, 1);
    bench_attention(1, 16384, 1);
    bench_attention(1, 4096, 4096);
    bench_attention(4, 8192, 1024);
  }
  if (!status_.ok()) return status_;
  return std::move(result_);
}

absl::StatusOr<KernelBenchResult> bench_kernels(
    const device::Device& device, const model::ModelSpec& model, const KernelBenchOptions& options,
    const std::function<void(const KernelTime&, const DeviceRates&)>& measured) {
  if (model.experts <= 0) {
    return absl::InvalidArgumentError("bench kernels needs the shape of a mixture-of-experts model");
  }
  if (options.rows.empty()) return absl::InvalidArgumentError("give at least one number of rows");
  return KernelBench(device, model, options, measured).run();
}

}  // namespace conclave::bench
