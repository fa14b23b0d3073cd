#ifndef CONCLAVE_KERNELS_CUDA_ROUTER_CUH_
#define CONCLAVE_KERNELS_CUDA_ROUTER_CUH_

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/device_types.h"

namespace conclave::device::cuda {

// logits float32 [rows, experts] = x bfloat16 [rows, k] * gate^T; gate packed (packed_layout.cuh).
// Its sums run over 8 segments of k, joined in order, whatever the row count: a router has too few
// outputs to fill a device with one chain per output.
cudaError_t router_logits(RowCount rows, const void* x, const void* gate, int32_t experts,
                          int32_t k, float* logits, cudaStream_t stream);

}  // namespace conclave::device::cuda

#endif  // CONCLAVE_KERNELS_CUDA_ROUTER_CUH_
