#ifndef CONCLAVE_KERNELS_CPU_FORCE_INLINE_H_
#define CONCLAVE_KERNELS_CPU_FORCE_INLINE_H_

// Code of an instruction set must end up in that set's own functions: an ordinary inline function
// compiled for AVX-512 could be the copy the linker keeps for everybody. So the wrappers are always
// inlined and the kernels are templates over their vector type.
#define CONCLAVE_FORCE_INLINE inline __attribute__((always_inline))

// The same for a lambda: written between its parameters and its body.
#define CONCLAVE_LAMBDA_INLINE __attribute__((always_inline))

// Accumulator arrays live in registers only if every loop over them is unrolled.
#if defined(__clang__)
#define CONCLAVE_UNROLL _Pragma("clang loop unroll(full)")
#else
#define CONCLAVE_UNROLL _Pragma("GCC unroll 32")
#endif

#endif  // CONCLAVE_KERNELS_CPU_FORCE_INLINE_H_
