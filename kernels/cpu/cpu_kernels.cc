#include "kernels/cpu/cpu_kernels.h"

#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/cpu/cpu_features.h"
#include "kernels/cpu/cpu_kernel_set.h"
#include "kernels/cpu/kernel_table.h"

namespace conclave::kernels {
namespace {

struct Entry {
  const char* name;
  const char* needs;
  cpu::InstructionSet instructions;
  const cpu::KernelTable& (*table)();
};

constexpr Entry kSets[] = {
    {"cpu-avx512", "AVX-512 F, BW, VL and DQ", cpu::InstructionSet::kAvx512, cpu::avx512_table},
    {"cpu-avx2", "AVX2, FMA and F16C", cpu::InstructionSet::kAvx2, cpu::avx2_table},
    {"cpu-baseline", "SSE2", cpu::InstructionSet::kBaseline, cpu::baseline_table},
};

}  // namespace

std::vector<std::string> available_cpu_kernel_sets() {
  std::vector<std::string> names;
  for (const Entry& entry : kSets) {
    if (cpu::cpu_has(entry.instructions)) names.emplace_back(entry.name);
  }
  return names;
}

absl::StatusOr<std::unique_ptr<KernelSet>> make_cpu_kernels(const std::string& name,
                                                            ComputeType compute_type,
                                                            std::shared_ptr<ThreadPool> pool) {
  if (pool == nullptr) return absl::InvalidArgumentError("kernel set: no thread pool was given");
  for (const Entry& entry : kSets) {
    if (name != entry.name) continue;
    if (!cpu::cpu_has(entry.instructions)) {
      return absl::FailedPreconditionError(
          absl::StrCat("kernel set ", name, " needs ", entry.needs,
                       ", which this processor does not have; use one of ",
                       absl::StrJoin(available_cpu_kernel_sets(), ", ")));
    }
    return cpu::CpuKernelSet::Create(entry.name, compute_type, entry.table(), std::move(pool));
  }
  return absl::InvalidArgumentError(absl::StrCat("unknown cpu kernel set '", name,
                                                 "'; this processor can run ",
                                                 absl::StrJoin(available_cpu_kernel_sets(), ", ")));
}

}  // namespace conclave::kernels
