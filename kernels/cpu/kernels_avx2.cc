#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/make_table.h"
#include "kernels/cpu/simd_avx2.h"

namespace conclave::kernels::cpu {
namespace {

constexpr KernelTable kTable = make_table<SimdAvx2>();

}  // namespace

const KernelTable& avx2_table() { return kTable; }

}  // namespace conclave::kernels::cpu
