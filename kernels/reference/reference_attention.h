#ifndef CONCLAVE_KERNELS_REFERENCE_REFERENCE_ATTENTION_H_
#define CONCLAVE_KERNELS_REFERENCE_REFERENCE_ATTENTION_H_

#include <cstddef>

#include "absl/status/status.h"
#include "kernels/kernel_set.h"

namespace conclave::kernels::reference {

// A block holds, for each of its 16 tokens, all K heads and then all V heads, row-major, in dtype
// `act`.
size_t kv_block_bytes(const AttentionShape& shape, DType act);
void append_kv(const AttentionShape& shape, const AttentionParameters& parameters,
               const AttentionBatch& batch, const MatrixView& qkv, const KvLayerView& kv,
               const MatrixView& q_out);
void attention(const AttentionShape& shape, const AttentionBatch& batch, const ConstMatrixView& q,
               const KvLayerView& kv, const MatrixView& out);

}  // namespace conclave::kernels::reference

#endif  // CONCLAVE_KERNELS_REFERENCE_REFERENCE_ATTENTION_H_
