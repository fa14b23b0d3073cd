#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/make_table.h"
#include "kernels/cpu/simd_baseline.h"

namespace conclave::kernels::cpu {
namespace {

constexpr KernelTable kTable = make_table<SimdBaseline>();

}  // namespace

const KernelTable& baseline_table() { return kTable; }

}  // namespace conclave::kernels::cpu
