#ifndef CONCLAVE_KERNELS_CPU_CPU_FEATURES_H_
#define CONCLAVE_KERNELS_CPU_CPU_FEATURES_H_

namespace conclave::kernels::cpu {

// Instruction sets that kernels can be written for, slowest first. Those after kAvx512 have no
// kernels yet.
enum class InstructionSet { kBaseline, kAvx2, kAvx512, kAvx512Vnni, kAvx512Bf16, kAmx };

// True if this processor has every instruction of the set and the system saves its registers.
bool cpu_has(InstructionSet set);

}  // namespace conclave::kernels::cpu

#endif  // CONCLAVE_KERNELS_CPU_CPU_FEATURES_H_
