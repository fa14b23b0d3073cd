#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "bench/engine_bench.h"
#include "cli/bench_commands.h"
#include "cli/device_limits.h"
#include "cli/exit_codes.h"
#include "cli/offline_engine.h"
#include "cli/progress_bar.h"
#include "cli/shape_file.h"
#include "kernels/cpu/machine_limits.h"
#include "kernels/device/thread_pool.h"

namespace conclave::cli {
namespace {

struct BenchEngineOptions {
  GroupOptions group;
  std::string shape;
  std::vector<int32_t> batches{1};
  bench::EngineBenchOptions bench;
  bool skip_prefill = false;
  std::string output = "text";
};

struct Limits {
  std::string gpu;  // empty: the CPU
  double read_bytes_per_second = 0;
  double flops_per_second = 0;
  int threads = 0;
};

// What the machine can do with as many threads as the group uses, measured in this very run.
absl::StatusOr<Limits> measure_limits(const GroupOptions& group) {
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  Limits limits;
  ASSIGN_OR_RETURN(const std::optional<DeviceLimits> gpu, measure_device_limits(group.device));
  if (gpu) {
    limits.gpu = gpu->name;
    limits.read_bytes_per_second = gpu->copy_bytes_per_second;
    return limits;
  }
  limits.threads = group.threads > 0 ? std::min(group.threads * group.ranks, cores) : cores;
  kernels::ThreadPoolOptions options;
  options.threads = limits.threads;
  ASSIGN_OR_RETURN(const std::shared_ptr<kernels::ThreadPool> pool, kernels::ThreadPool::Create(options));
  limits.read_bytes_per_second = kernels::measure_read_bandwidth_bytes_per_second(*pool);
  limits.flops_per_second = kernels::measure_fma_flops_per_second(*pool);
  return limits;
}

nlohmann::ordered_json phase_json(const bench::Phase& phase) {
  return {{"tokens_per_second", phase.tokens_per_second}, {"seconds_per_step", phase.seconds_per_step},
          {"bytes_per_step", phase.bytes_per_step}, {"flops_per_step", phase.flops_per_step},
          {"compute_ms", phase.compute_ms}, {"exchange_ms", phase.exchange_ms}, {"exchange_exposed_ms", phase.exchange_exposed_ms},
          {"exchange_bytes", phase.exchange_bytes}};
}

void print_phase(const char* name, int64_t rows, const bench::Phase& phase, const Limits& limits) {
  std::printf("%-8s %6lld rows/step %10.2f tokens/s %10.3f ms/step", name, static_cast<long long>(rows),
              phase.tokens_per_second, 1e3 * phase.seconds_per_step);
  if (phase.bytes_per_step > 0) {
    const double rate = phase.bytes_per_step / phase.seconds_per_step;
    std::printf("  %7.2f GB/s = %5.1f %% of %s bandwidth", rate / 1e9, 100 * rate / limits.read_bytes_per_second,
                limits.gpu.empty() ? "read" : "copy");
  }
  if (phase.flops_per_step > 0) {
    const double rate = phase.flops_per_step / phase.seconds_per_step;
    std::printf("  %7.1f GFLOP/s", rate / 1e9);
    if (limits.flops_per_second > 0) std::printf(" = %5.1f %% of FMA peak", 100 * rate / limits.flops_per_second);
  }
  std::printf("  compute %.3f ms", phase.compute_ms);
  std::printf("  exchange %.3f ms, exposed %.3f ms, %s\n", phase.exchange_ms, phase.exchange_exposed_ms,
              format_bytes(static_cast<uint64_t>(phase.exchange_bytes)).c_str());
  std::fflush(stdout);
}

absl::Status run(BenchEngineOptions o) {
  if (o.shape.empty() == o.group.model.empty()) return absl::InvalidArgumentError("give either --model DIR or --shape NAME");
  o.group.prefix_cache = false;
  const int32_t rows = o.bench.prefill_tokens * o.bench.prefill_sequences;
  o.group.max_step_tokens = std::max(o.group.max_step_tokens, rows);
  if (o.group.kv_memory.empty() && o.group.kv_blocks == 0) {
    const int32_t longest = *std::max_element(o.batches.begin(), o.batches.end());
    const int64_t decode = int64_t{longest} * (o.bench.prompt_tokens + o.bench.decode_tokens + 32);
    o.group.kv_blocks = static_cast<int32_t>((std::max<int64_t>(decode, rows + 64) + longest * 16) / 16 + 16);
  }
  ASSIGN_OR_RETURN(const Limits before, measure_limits(o.group));
  bench::StepRecorder recorder;
  std::unique_ptr<OfflineEngine> engine;
  const bool progress = ::isatty(STDERR_FILENO) != 0;
  if (o.shape.empty()) {
    ASSIGN_OR_RETURN(engine, OfflineEngine::start(o.group, progress, &recorder));
  } else {
    std::string path;
    ASSIGN_OR_RETURN(const std::string text, read_shape(o.shape, &path));
    ASSIGN_OR_RETURN(engine, OfflineEngine::start_shape(o.group, text, path, progress, &recorder));
  }
  const model::ModelSpec& spec = engine->model().spec;
  const ComputeType compute = resolved_compute(o.group, spec);
  const coordinator::EngineStatus status = engine->engine().status();
  // Other guests of the host may have been loud during the first measurement: the better of two counts.
  nlohmann::ordered_json json;
  std::vector<std::pair<int32_t, bench::Phase>> decodes;
  for (const int32_t batch : o.batches) {
    o.bench.batch = batch;
    ASSIGN_OR_RETURN(const bench::Phase phase, bench::bench_decode(engine->engine(), recorder, spec, compute, o.bench));
    decodes.emplace_back(batch, phase);
  }
  bench::Phase prefill;
  if (!o.skip_prefill) {
    ASSIGN_OR_RETURN(prefill, bench::bench_prefill(engine->engine(), recorder, spec, o.bench));
  }
  Limits limits = before;
  if (limits.gpu.empty()) {  // a full GPU has no room for another measurement
    ASSIGN_OR_RETURN(limits, measure_limits(o.group));
  }
  limits.read_bytes_per_second = std::max(limits.read_bytes_per_second, before.read_bytes_per_second);
  limits.flops_per_second = std::max(limits.flops_per_second, before.flops_per_second);

  if (o.output == "json") {
    json["model"] = o.shape.empty() ? o.group.model : o.shape;
    json["compute"] = compute_type_name(compute);
    json["kernel_set"] = status.kernel_set;
    json["transport"] = status.transport;
    json["ranks"] = o.group.ranks;
    json["threads"] = limits.threads;
    if (!limits.gpu.empty()) json["gpu"] = limits.gpu;
    json["read_bytes_per_second"] = limits.read_bytes_per_second;
    json["fma_flops_per_second"] = limits.flops_per_second;
    for (const auto& [batch, phase] : decodes) {
      nlohmann::ordered_json entry = phase_json(phase);
      entry["batch"] = batch;
      entry["fraction_of_read_bandwidth"] = phase.bytes_per_step / phase.seconds_per_step / limits.read_bytes_per_second;
      json["decode"].push_back(entry);
    }
    if (!o.skip_prefill) {
      json["prefill"] = phase_json(prefill);
      json["prefill"]["tokens"] = rows;
      json["prefill"]["fraction_of_fma_peak"] = limits.flops_per_second > 0 ? prefill.flops_per_step / prefill.seconds_per_step / limits.flops_per_second : 0;
    }
    std::puts(json.dump(2).c_str());
    return absl::OkStatus();
  }
  std::printf("%s, %s, kernel set %s, %d rank(s) over %s, %d thread(s) in all, overlap %s\n",
              (o.shape.empty() ? o.group.model : o.shape).c_str(), compute_type_name(compute), status.kernel_set.c_str(),
              o.group.ranks, status.transport.c_str(), limits.threads, o.group.overlap.c_str());
  if (limits.gpu.empty()) {
    std::printf("limits of this run: read %.2f GB/s, register-resident FMA %.1f GFLOP/s\n",
                limits.read_bytes_per_second / 1e9, limits.flops_per_second / 1e9);
  } else {
    std::printf("limits of this run: %s, copy %.1f GB/s (read and written)\n", limits.gpu.c_str(),
                limits.read_bytes_per_second / 1e9);
  }
  for (const auto& [batch, phase] : decodes) print_phase("decode", batch, phase, limits);
  if (!o.skip_prefill) print_phase("prefill", rows, prefill, limits);
  return absl::OkStatus();
}

}  // namespace

void add_bench_engine_command(CLI::App& parent, int* exit_code) {
  auto o = std::make_shared<BenchEngineOptions>();
  CLI::App* command = parent.add_subcommand("engine", "Decode and prefill speed beside the machine's own limits");
  command->footer("Bytes of a decode step above batch 1 assume that routing is uniform (each expert counted once).\n\n" +
                  std::string(kExitCodeHelp));
  add_group_flags(*command, &o->group, /*need_model=*/false);
  command->add_option("--shape", o->shape, "a shape of bench/shapes or a file: random weights instead of a model");
  command->add_option("--batch", o->batches, "sequences decoded together; several: 1,16")->delimiter(',')->check(CLI::Range(1, 4096));
  command->add_option("--prompt", o->bench.prompt_tokens, "context before decoding")->check(CLI::Range(1, 1 << 20));
  command->add_option("--decode", o->bench.decode_tokens, "decode steps")->check(CLI::Range(8, 1 << 20));
  command->add_option("--prefill", o->bench.prefill_tokens, "tokens of a prefilled prompt")->check(CLI::Range(1, 1 << 20));
  command->add_option("--prefill-sequences", o->bench.prefill_sequences, "prompts prefilled in one step")->check(CLI::Range(1, 1024));
  command->add_option("--repeats", o->bench.repeats, "best of so many")->check(CLI::Range(1, 1000));
  command->add_flag("--no-prefill", o->skip_prefill, "decode only");
  command->add_option("-o,--output", o->output, "text or json")->check(CLI::IsMember({"text", "json"}));
  command->callback([o, exit_code] { *exit_code = report(run(*o)); });
}

}  // namespace conclave::cli
