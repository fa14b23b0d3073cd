#ifndef CONCLAVE_KERNELS_CPU_PANEL_LAYOUT_H_
#define CONCLAVE_KERNELS_CPU_PANEL_LAYOUT_H_

// How the cpu sets store a weight matrix [n, k]: panels of 32 output rows, each [k][32] elements of
// the stored dtype, so that one input element meets 32 consecutive weights (one cache line in 16
// bits) and a pass over k reads one ascending stream. n is padded with zero rows.
//
// bfloat16 lines interleave rows j and j + 16: the two halves of a 32-bit word become float32 with
// a shift and a mask, without a permutation. A gate_up panel holds 16 gate rows and the 16 up rows
// that belong to them as rows j and j + 16.

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/kernel_set.h"

namespace conclave::kernels::cpu {

int64_t panel_count(int64_t n);
int64_t panel_bytes(int64_t k, DType stored);
size_t panels_bytes(int64_t n, int64_t k, DType stored);

// `out` has panels_bytes(n, k, stored) bytes, 64-byte aligned. Thread-safe: touches only its
// arguments' memory.
PackedMatrix pack_panels(std::span<const WeightRows> parts, DType stored, std::byte* out);
PackedMatrix pack_gate_up_panels(const WeightRows& gate, const WeightRows& up, DType stored,
                                 std::byte* out);

// out[k] = row `row` of the packed matrix as float32. Thread-safe.
void unpack_row(const PackedMatrix& packed, int64_t row, float* out);

}  // namespace conclave::kernels::cpu

#endif  // CONCLAVE_KERNELS_CPU_PANEL_LAYOUT_H_
