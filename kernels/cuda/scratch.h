#ifndef CONCLAVE_KERNELS_CUDA_SCRATCH_H_
#define CONCLAVE_KERNELS_CUDA_SCRATCH_H_

// Device memory between kernels of one operation, allocated once by reserve().

#include <cstdint>

#include "kernels/device/cuda/ops.h"

namespace conclave::device::cuda {

struct Scratch {
  void* expert_hidden = nullptr;     // act [max_expert_rows, max_intermediate]
  float* router_logits = nullptr;    // [max_rows, max_experts]
  float* sampling = nullptr;         // [max_head_rows, vocab]: rows as the model gave them
  float* attention_parts = nullptr;  // split results of attention
  int64_t attention_part_bytes = 0;
  int32_t* blocks_done = nullptr;  // counter of norm_route
};

}  // namespace conclave::device::cuda

#endif  // CONCLAVE_KERNELS_CUDA_SCRATCH_H_
