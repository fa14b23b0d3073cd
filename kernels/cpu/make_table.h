#ifndef CONCLAVE_KERNELS_CPU_MAKE_TABLE_H_
#define CONCLAVE_KERNELS_CPU_MAKE_TABLE_H_

#include "kernels/cpu/attention_tile.h"
#include "kernels/cpu/gemm_tile.h"
#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/row_kernels.h"

namespace conclave::kernels::cpu {

// Every kernel for one vector type. Included only by the translation unit compiled for it.
template <class S>
constexpr KernelTable make_table() {
  KernelTable table{};
  table.tile_rows = S::kMaxTileRows;
  table.stream_panels = TileShape<S, 1>::kPanels;
  table.gemm_tile = gemm_tile<S>;
  table.pack_rows = pack_rows<S>;
  table.store_tile = store_tile<S>;
  table.swiglu_tile = swiglu_tile<S>;
  table.norm_row = norm_row<S>;
  table.append_row = append_row<S>;
  table.attention_tile = attention_tile<S>;
  table.route_row = route_row<S>;
  table.combine_row = combine_row<S>;
  table.add_row = add_row<S>;
  table.widen_row = widen_row<S>;
  table.spin_fma = spin_fma<S>;
  table.read_all = read_all<S>;
  return table;
}

}  // namespace conclave::kernels::cpu

#endif  // CONCLAVE_KERNELS_CPU_MAKE_TABLE_H_
