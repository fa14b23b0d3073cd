#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/make_table.h"
#include "kernels/cpu/simd_avx512.h"

namespace conclave::kernels::cpu {
namespace {

constexpr KernelTable kTable = make_table<SimdAvx512>();

}  // namespace

const KernelTable& avx512_table() { return kTable; }

}  // namespace conclave::kernels::cpu
