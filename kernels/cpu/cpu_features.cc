#include "kernels/cpu/cpu_features.h"

namespace conclave::kernels::cpu {

bool cpu_has(InstructionSet set) {
  // The builtin reads cpuid once and also asks which register state the system enables.
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("f16c");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512dq");
  switch (set) {
    case InstructionSet::kBaseline:
      return true;
    case InstructionSet::kAvx2:
      return avx2;
    case InstructionSet::kAvx512:
      return avx512;
    case InstructionSet::kAvx512Vnni:
      return avx512 && __builtin_cpu_supports("avx512vnni");
    case InstructionSet::kAvx512Bf16:
      return avx512 && __builtin_cpu_supports("avx512bf16");
    // AMX needs the kernel's permission as well (arch_prctl); without kernels for it the answer is
    // no.
    case InstructionSet::kAmx:
      return false;
  }
  return false;
}

}  // namespace conclave::kernels::cpu
