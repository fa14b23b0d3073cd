#ifndef CONCLAVE_KERNELS_CUDA_TUNING_H_
#define CONCLAVE_KERNELS_CUDA_TUNING_H_

// Choices between ways that give the same bits. Defaults are what measured best; the environment
// variable CONCLAVE_CUDA_TUNING ("fuse=0,deep=0,tiled.spread=0") sets others, so that one build can
// compare them.

#include <cstdint>

namespace conclave::device::cuda {

// How the tiled kernel's producers fill a stage.
struct TiledFill {
  int32_t spread = 1;   // 1: all four producer warps start bulk copies, not the first alone
  int32_t cluster = 0;  // blocks that share weights: 1, 2; 0: by the number of rows
};

struct Tuning {
  TiledFill tiled;
  int32_t deep = 1;    // 1: few panels of a single weight keep as much of it under way as fits
  int32_t six = 1;     // 1: six panels a block where that spreads one row's experts evenly
  int32_t trio = 1;    // from so many tiles of 8 rows on, three panels a block; 0: never
  int32_t append = 1;  // 1: decode attention makes queries and appends keys itself
  int32_t near = 1;    // 1: clusters of norm_route and of the sampler hand over in shared memory
  int32_t fuse = 1;    // 1: norm with routing, combine with norm, in one kernel for few rows
};

// What kernels/cuda needs to know of the device.
struct Machine {
  int32_t multiprocessors = 0;
  Tuning tuning;
};

// kDefault changed by `text` (null: not): name=value pairs separated by commas. False: a name or a
// value that does not exist.
bool parse_tuning(const char* text, Tuning* out);

}  // namespace conclave::device::cuda

#endif  // CONCLAVE_KERNELS_CUDA_TUNING_H_
