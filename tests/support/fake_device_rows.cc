// The fake device: rows in, norms, products, attention.

#include <algorithm>
#include <vector>

#include "tests/support/fake_device_context.h"
#include "tests/support/fake_device_ops.h"

namespace conclave::device {
namespace fake {
namespace {

Status resolve_tokens(Context* context, Stream*, RowCount rows, const int32_t* plan,
                      const SamplingResult* previous, int32_t vocab, int32_t* out) {
  return context->enqueue([=] {
    for (int32_t i = 0; i < actual_of(rows); ++i) {
      const int32_t token = plan[i] >= 0 ? plan[i] : previous[-1 - plan[i]].token;
      out[i] = std::clamp(token, 0, vocab - 1);
    }
  });
}
Status embed(Context* context, Stream*, RowCount rows, const int32_t* ids, const void* table,
             int32_t dtype, int64_t vocab, int64_t hidden, float* out) {
  return context->enqueue([=] {
    const auto count = static_cast<size_t>(actual_of(rows));
    context->kernels->embed({ids, count}, view(table, static_cast<DType>(dtype), vocab, hidden),
                            f32(out, actual_of(rows), hidden));
  });
}
Status add_rms_norm(Context* context, Stream*, RowCount rows, int64_t hidden, float* residual,
                    const float* addend, const float* weight, float eps, void* out) {
  return context->enqueue([=] {
    const int64_t n = actual_of(rows);
    const MatrixView stream = f32(residual, n, hidden);
    if (addend != nullptr) {
      context->kernels->add(stream, view(addend, DType::kF32, n, hidden));
    }
    if (out == nullptr) return;
    context->kernels->rms_norm(stream, weight, eps, view(out, context->act(), n, hidden));
  });
}
Status matmul(Context* context, Stream*, RowCount rows, const void* x, const PackedMatrix* weight,
              const float* bias, int32_t accumulate, float* out) {
  return context->enqueue([=, weight = packed(*weight)] {
    const int64_t n = actual_of(rows);
    const ConstMatrixView input = view(x, context->act(), n, weight.k);
    if (accumulate == 0) {
      context->kernels->matmul(input, weight, bias, f32(out, n, weight.n));
      return;
    }
    std::vector<float> product(static_cast<size_t>(n * weight.n));
    context->kernels->matmul(input, weight, bias, f32(product.data(), n, weight.n));
    context->kernels->add(f32(out, n, weight.n), f32(product.data(), n, weight.n));
  });
}

// The batch as the host kernels take it. Block tables may lie anywhere behind block_ids.
kernels::AttentionBatch batch_of(const AttentionBatch& batch,
                                 std::vector<kernels::AttentionRow>* rows) {
  size_t ids = 0;
  for (int32_t i = 0; i < actual_of(batch.rows); ++i) {
    rows->push_back({batch.row[i].position, batch.row[i].block_table});
    const int32_t blocks = batch.row[i].position / kernels::kKvBlockTokens + 1;
    ids = std::max(ids, static_cast<size_t>(batch.row[i].block_table + blocks));
  }
  return {*rows, {batch.block_ids, ids}};
}
Status append_kv(Context* context, Stream*, const AttentionShape* shape,
                 const AttentionParameters* parameters, const AttentionBatch* batch, float* qkv,
                 const KvLayer* kv, void* q_out) {
  return context->enqueue(
      [=, shape = attention_shape(*shape), p = *parameters, batch = *batch, kv = *kv] {
        std::vector<kernels::AttentionRow> rows;
        const kernels::AttentionBatch host = batch_of(batch, &rows);
        const auto n = static_cast<int64_t>(rows.size());
        const int64_t query = int64_t{shape.heads} * shape.head_dim;
        const int64_t key = int64_t{shape.kv_heads} * shape.head_dim;
        context->kernels->append_kv(shape, {p.q_norm, p.k_norm, p.inverse_freq, p.attention_factor},
                                    host, f32(qkv, n, query + 2 * key),
                                    {static_cast<std::byte*>(kv.data), kv.block_stride_bytes},
                                    view(q_out, context->act(), n, query));
      });
}
Status attention(Context* context, Stream*, const AttentionShape* shape,
                 const AttentionBatch* batch, const void* q, const KvLayer* kv, void* out) {
  return context->enqueue([=, shape = attention_shape(*shape), batch = *batch, kv = *kv] {
    std::vector<kernels::AttentionRow> rows;
    const kernels::AttentionBatch host = batch_of(batch, &rows);
    const auto n = static_cast<int64_t>(rows.size());
    const int64_t query = int64_t{shape.heads} * shape.head_dim;
    context->kernels->attention(shape, host, view(q, context->act(), n, query),
                                {static_cast<std::byte*>(kv.data), kv.block_stride_bytes},
                                view(out, context->act(), n, query));
  });
}
Status append_attention(Context* context, Stream* stream, const AttentionShape* shape,
                        const AttentionParameters* parameters, const AttentionBatch* batch,
                        float* qkv, const KvLayer* kv, void* q, void* out) {
  const Status status = append_kv(context, stream, shape, parameters, batch, qkv, kv, q);
  return status != kOk ? status : attention(context, stream, shape, batch, q, kv, out);
}
Status gather_rms_norm(Context* context, Stream*, RowCount rows, int64_t hidden,
                       const float* residual, const int32_t* index, const float* weight, float eps,
                       void* out) {
  return context->enqueue([=] {
    const int64_t n = actual_of(rows);
    std::vector<float> gathered(static_cast<size_t>(n * hidden));
    for (int64_t i = 0; i < n; ++i) {
      std::copy_n(residual + std::max(index[i], 0) * hidden, hidden, gathered.begin() + i * hidden);
    }
    context->kernels->rms_norm(f32(gathered.data(), n, hidden), weight, eps,
                               view(out, context->act(), n, hidden));
  });
}

}  // namespace

void add_rows(DeviceOps* table) {
  table->resolve_tokens = resolve_tokens;
  table->embed = embed;
  table->add_rms_norm = add_rms_norm;
  table->matmul = matmul;
  table->append_kv = append_kv;
  table->attention = attention;
  table->append_attention = append_attention;
  table->gather_rms_norm = gather_rms_norm;
}

}  // namespace fake
}  // namespace conclave::device
