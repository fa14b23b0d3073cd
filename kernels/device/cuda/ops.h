#ifndef CONCLAVE_KERNELS_DEVICE_CUDA_OPS_H_
#define CONCLAVE_KERNELS_DEVICE_CUDA_OPS_H_

// What kernels/cuda implements of the table in kernels/device_ops.h (contracts are there), and the
// scratch memory behind it.

#include "kernels/device/cuda/context.h"

namespace conclave::device::cuda {

// Scratch of a context, sized by context->limits; called by reserve() and destroy().
Status create_scratch(Context* context);
void destroy_scratch(Context* context);

Status supports_attention(Context* context, const AttentionShape* shape);
Status supports_router(Context* context, const RouterShape* shape);
Status supports_matrix(Context* context, int64_t n, int64_t k, int32_t dtype, int32_t is_gate_up);
int32_t stored_dtype(Context* context, int32_t file_dtype);
size_t packed_bytes(Context* context, int64_t n, int64_t k, int32_t dtype);
size_t kv_block_bytes(Context* context, const AttentionShape* shape);
Status pack_matrix(Context* context, Stream* stream, const WeightPart* parts, int32_t count,
                   int32_t dtype, void* out);
Status pack_gate_up(Context* context, Stream* stream, const WeightPart* gate, const WeightPart* up,
                    int32_t dtype, void* out);
Status convert(Context* context, Stream* stream, const void* from, int32_t from_dtype, void* to,
               int32_t to_dtype, int64_t count);
Status fill_random(Context* context, Stream* stream, void* to, int32_t dtype, int64_t count,
                   uint64_t seed, float bound);
Status resolve_tokens(Context* context, Stream* stream, RowCount rows, const int32_t* plan,
                      const SamplingResult* previous, int32_t vocab, int32_t* out);
Status embed(Context* context, Stream* stream, RowCount rows, const int32_t* ids, const void* table,
             int32_t table_dtype, int64_t vocab, int64_t hidden, float* out);
Status add_rms_norm(Context* context, Stream* stream, RowCount rows, int64_t hidden,
                    float* residual, const float* addend, const float* weight, float eps,
                    void* out);
Status matmul(Context* context, Stream* stream, RowCount rows, const void* x,
              const PackedMatrix* weight, const float* bias, int32_t accumulate, float* out);
Status append_kv(Context* context, Stream* stream, const AttentionShape* shape,
                 const AttentionParameters* parameters, const AttentionBatch* batch, float* qkv,
                 const KvLayer* kv, void* q_out);
Status attention(Context* context, Stream* stream, const AttentionShape* shape,
                 const AttentionBatch* batch, const void* q, const KvLayer* kv, void* out);
Status route(Context* context, Stream* stream, const RouterShape* shape, RowCount rows,
             const void* x, const PackedMatrix* gate, int32_t* ids, float* weights,
             const ExpertLists* lists);
Status group_experts(Context* context, Stream* stream, const RouterShape* shape, RowCount rows,
                     const int32_t* ids, const ExpertOwners* owners, const ExpertLists* lists);
Status expert_ffn(Context* context, Stream* stream, const RouterShape* router,
                  const ExpertShape* shape, RowCount rows, const void* x, const ExpertLists* lists,
                  const ExpertSlot* slots, void* out);
Status dense_ffn(Context* context, Stream* stream, const ExpertShape* shape, RowCount rows,
                 const void* x, const ExpertSlot* slot, void* out);
Status combine(Context* context, Stream* stream, RowCount rows, int64_t hidden, int32_t top_k,
               const int32_t* ids, const float* weights, const CombineSources* sources,
               const void* shared, const float* shared_gate, int32_t accumulate, float* out);
Status gather_rms_norm(Context* context, Stream* stream, RowCount rows, int64_t hidden,
                       const float* residual, const int32_t* index, const float* weight, float eps,
                       void* out);
Status sample(Context* context, Stream* stream, RowCount rows, int64_t vocab, float* logits,
              const SamplingRow* row, const TokenCount* counts, const TokenBias* bias,
              SamplingResult* results);

Status append_attention(Context* context, Stream* stream, const AttentionShape* shape,
                        const AttentionParameters* parameters, const AttentionBatch* batch,
                        float* qkv, const KvLayer* kv, void* q, void* out);
Status norm_route(Context* context, Stream* stream, RowCount rows, int64_t hidden, float* residual,
                  const float* addend, const float* norm_weight, float eps, void* normed,
                  const RouterShape* shape, const PackedMatrix* gate, int32_t* ids, float* weights,
                  const ExpertLists* lists);
Status combine_norm(Context* context, Stream* stream, RowCount rows, int64_t hidden, int32_t top_k,
                    const int32_t* ids, const float* weights, const CombineSources* sources,
                    const void* shared, const float* shared_gate, float* residual,
                    const float* norm_weight, float eps, void* normed);
Status matmul_peak(Context* context, Stream* stream, int32_t steps, double* flops);

}  // namespace conclave::device::cuda

#endif  // CONCLAVE_KERNELS_DEVICE_CUDA_OPS_H_
