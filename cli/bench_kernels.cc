#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "bench/kernel_bench.h"
#include "cli/bench_commands.h"
#include "cli/exit_codes.h"
#include "cli/shape_file.h"
#include "model/model_spec.h"

namespace conclave::cli {
namespace {

struct BenchKernelsOptions {
  std::string shape = "qwen3-30b-a3b";
  bench::KernelBenchOptions bench;
  std::string output = "text";
};

double share(double work, double microseconds, double rate) {
  return rate > 0 ? work / microseconds * 1e6 / rate : 0;
}

void print(const bench::KernelTime& time, const bench::DeviceRates& rates) {
  std::printf("%-22s %6d rows %10.2f us %8.1f GB/s = %5.1f %% of copy", time.operation.c_str(),
              time.rows, time.microseconds, time.bytes / time.microseconds * 1e-3,
              100 * share(time.bytes, time.microseconds, rates.copy_bytes_per_second));
  if (time.flops > 0) {
    std::printf(" %8.1f TFLOP/s = %5.1f %% of matmul", time.flops / time.microseconds * 1e-6,
                100 * share(time.flops, time.microseconds, rates.matmul_flops_per_second));
  }
  std::puts("");
  std::fflush(stdout);
}

nlohmann::ordered_json to_json(const BenchKernelsOptions& o, const device::Device& gpu,
                               const bench::KernelBenchResult& result) {
  const bench::DeviceRates& rates = result.rates;
  nlohmann::ordered_json json;
  json["shape"] = o.shape;
  json["gpu"] = gpu.info().name;
  json["kernel_set"] = gpu.name();
  json["copy_bytes_per_second"] = rates.copy_bytes_per_second;
  json["matmul_flops_per_second"] = rates.matmul_flops_per_second;
  json["operations"] = nlohmann::ordered_json::array();
  for (const bench::KernelTime& time : result.times) {
    json["operations"].push_back(
        {{"operation", time.operation},
         {"rows", time.rows},
         {"microseconds", time.microseconds},
         {"bytes", time.bytes},
         {"flops", time.flops},
         {"fraction_of_copy", share(time.bytes, time.microseconds, rates.copy_bytes_per_second)},
         {"fraction_of_matmul",
          share(time.flops, time.microseconds, rates.matmul_flops_per_second)}});
  }
  json["expert_bits"] = absl::StrCat(absl::Hex(result.expert_bits, absl::kZeroPad16));
  json["failed_checks"] = result.failures;
  return json;
}

absl::Status run(const BenchKernelsOptions& o) {
  std::string path;
  ASSIGN_OR_RETURN(const std::string text, read_shape(o.shape, &path));
  ASSIGN_OR_RETURN(const model::ModelSpec spec, model::parse_shape(text, path));
  ASSIGN_OR_RETURN(const auto library, device::Library::load(device::cuda_plugin_path()));
  RETURN_IF_ERROR(library->device_count().status());
  ASSIGN_OR_RETURN(const auto gpu, device::Device::create(library, 0, ComputeType::kBF16));
  const bool json = o.output == "json";
  bool first = true;
  ASSIGN_OR_RETURN(
      const bench::KernelBenchResult result,
      bench::bench_kernels(*gpu, spec, o.bench,
                           [&](const bench::KernelTime& time, const bench::DeviceRates& rates) {
                             if (json) return;
                             if (first) {
                               std::printf("%s on %s: copy %.1f GB/s (read and written), matmul %.1f "
                                           "TFLOP/s (bf16, operands in shared memory)\n",
                                           o.shape.c_str(), gpu->info().name,
                                           rates.copy_bytes_per_second * 1e-9,
                                           rates.matmul_flops_per_second * 1e-12);
                             }
                             first = false;
                             print(time, rates);
                           }));
  if (json) {
    std::puts(to_json(o, *gpu, result).dump(2).c_str());
  } else if (result.expert_bits != 0) {
    std::printf("bits of the experts' outputs: %016llx\n",
                static_cast<unsigned long long>(result.expert_bits));
  }
  if (result.failures.empty()) return absl::OkStatus();
  for (const std::string& failure : result.failures) {
    std::fprintf(stderr, "check failed: %s\n", failure.c_str());
  }
  return absl::InternalError(absl::StrCat(result.failures.size(), " check(s) failed"));
}

}  // namespace

void add_bench_kernels_command(CLI::App& parent, int* exit_code) {
  auto o = std::make_shared<BenchKernelsOptions>();
  CLI::App* command = parent.add_subcommand(
      "kernels", "Each operation of the GPU's kernels, checked, and beside the card's own rates");
  command->footer(
      "Needs a GPU; `bench engine` measures the CPU's kernels. Bytes: weights and K/V once, rows in "
      "and out. A share of copy above 100 % means that reading alone is faster than the copy, which "
      "reads and writes.\n\n" +
      std::string(kExitCodeHelp));
  command->add_option("--shape", o->shape, "a shape of bench/shapes or a file")->capture_default_str();
  command->add_option("--rows", o->bench.rows, "row counts of experts and products: 1,64,4096")
      ->delimiter(',')
      ->check(CLI::Range(1, 8192));
  command
      ->add_option("--only", o->bench.only,
                   "parts: experts, matmul, head, rows, sample, attention")
      ->delimiter(',')
      ->check(CLI::IsMember({"experts", "matmul", "head", "rows", "sample", "attention"}));
  command->add_option("-o,--output", o->output, "text or json")
      ->check(CLI::IsMember({"text", "json"}));
  command->callback([o, exit_code] { *exit_code = report(run(*o)); });
}

}  // namespace conclave::cli
