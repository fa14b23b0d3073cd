// The fake device: routing, experts, and their sum.

#include <algorithm>
#include <vector>

#include "tests/support/fake_device_context.h"
#include "tests/support/fake_device_ops.h"

namespace conclave::device {
namespace fake {
namespace {

void group(const RouterShape& shape, RowCount rows, const int32_t* ids, const ExpertOwners* owners,
           const ExpertLists& lists) {
  std::fill_n(lists.counts, shape.experts, 0);
  int32_t listed = 0;
  for (int32_t expert = 0; expert < shape.experts; ++expert) {
    lists.offsets[expert] = listed;
    for (int32_t pair = 0; pair < actual_of(rows) * shape.top_k; ++pair) {
      if (ids[pair] != expert) continue;
      if (owners != nullptr && owners->owner != nullptr) {
        const int32_t source = pair / shape.top_k / owners->rows_per_source;
        if (owners->owner[source * shape.experts + expert] != owners->self) continue;
      }
      lists.pairs[listed++] = pair;
      ++lists.counts[expert];
    }
  }
  lists.offsets[shape.experts] = listed;
}
Status group_experts(Context* context, Stream*, const RouterShape* shape, RowCount rows,
                     const int32_t* ids, const ExpertOwners* owners, const ExpertLists* lists) {
  const bool owned = owners != nullptr;
  return context->enqueue(
      [=, shape = *shape, lists = *lists, owners = owned ? *owners : ExpertOwners{}] {
        group(shape, rows, ids, owned ? &owners : nullptr, lists);
      });
}
Status route(Context* context, Stream*, const RouterShape* shape, RowCount rows, const void* x,
             const PackedMatrix* gate, int32_t* ids, float* weights, const ExpertLists* lists) {
  const bool listed = lists != nullptr;
  return context->enqueue(
      [=, shape = *shape, gate = packed(*gate), lists = listed ? *lists : ExpertLists{}] {
        const int64_t n = actual_of(rows);
        const auto pairs = static_cast<size_t>(n * shape.top_k);
        std::vector<float> logits(static_cast<size_t>(n * shape.experts));
        const MatrixView logits_view = f32(logits.data(), n, shape.experts);
        context->kernels->matmul(view(x, context->act(), n, gate.k), gate, nullptr, logits_view);
        context->kernels->route(router_shape(shape), logits_view, {ids, pairs}, {weights, pairs});
        const auto all = static_cast<size_t>(rows.bound) * static_cast<size_t>(shape.top_k);
        std::fill(ids + pairs, ids + all, -1);
        std::fill(weights + pairs, weights + all, 0.0f);
        if (listed) group(shape, rows, ids, nullptr, lists);
      });
}
Status expert_ffn(Context* context, Stream*, const RouterShape* router, const ExpertShape* shape,
                  RowCount rows, const void* x, const ExpertLists* lists, const ExpertSlot* slots,
                  void* out) {
  return context->enqueue([=, router = *router, shape = *shape, lists = *lists] {
    for (int32_t expert = 0; expert < router.experts; ++expert) {
      const int32_t* first = lists.pairs + lists.offsets[expert];
      const std::vector<int32_t> pairs(first, first + lists.counts[expert]);
      if (pairs.empty()) continue;
      std::vector<int32_t> in_rows;
      for (const int32_t pair : pairs) in_rows.push_back(pair / router.top_k);
      const kernels::ExpertWeights weights = expert_weights(shape, slots[expert]);
      const kernels::ExpertGroup all{&weights, in_rows, pairs};
      context->kernels->expert_ffn(
          {&all, 1}, view(x, context->act(), rows.bound, shape.hidden),
          view(out, context->act(), int64_t{rows.bound} * router.top_k, shape.hidden));
    }
  });
}
Status dense_ffn(Context* context, Stream*, const ExpertShape* shape, RowCount rows, const void* x,
                 const ExpertSlot* slot, void* out) {
  return context->enqueue([=, shape = *shape, slot = *slot] {
    std::vector<int32_t> own;
    for (int32_t i = 0; i < actual_of(rows); ++i) own.push_back(i);
    const kernels::ExpertWeights weights = expert_weights(shape, slot);
    const kernels::ExpertGroup all{&weights, own, own};
    context->kernels->expert_ffn({&all, 1}, view(x, context->act(), rows.bound, shape.hidden),
                                 view(out, context->act(), rows.bound, shape.hidden));
  });
}
Status combine(Context* context, Stream*, RowCount rows, int64_t hidden, int32_t top_k,
               const int32_t* ids, const float* weights, const CombineSources* sources,
               const void* shared, const float* shared_gate, int32_t accumulate, float* out) {
  return context->enqueue([=, from = *sources] {
    const int64_t n = actual_of(rows);
    const DType act = context->act();
    const int64_t pairs = n * top_k;
    const int64_t remote_rows = int64_t{rows.bound} * top_k;
    const ConstMatrixView views[] = {view(from.local, act, remote_rows, hidden),
                                     view(from.remote, act, remote_rows, hidden)};
    std::vector<int32_t> source_of, row_of;
    for (int64_t p = 0; p < pairs; ++p) {
      const int32_t owner = from.owner == nullptr ? from.self : from.owner[ids[p]];
      const bool local = owner == from.self;
      source_of.push_back(local ? 0 : 1);
      row_of.push_back(static_cast<int32_t>(local ? p : owner * remote_rows + p));
    }
    kernels::CombineInput input;
    input.sources = views;
    input.source_of = source_of;
    input.row_of = row_of;
    input.weights = {weights, static_cast<size_t>(pairs)};
    input.top_k = top_k;
    if (shared != nullptr) input.shared = view(shared, act, n, hidden);
    input.shared_gate = shared_gate;
    std::vector<float> sum(static_cast<size_t>(n * hidden));
    context->kernels->combine(input, f32(sum.data(), n, hidden));
    if (accumulate == 0) std::fill_n(out, n * hidden, 0.0f);
    context->kernels->add(f32(out, n, hidden), f32(sum.data(), n, hidden));
  });
}
Status norm_route(Context* context, Stream* stream, RowCount rows, int64_t hidden, float* residual,
                  const float* addend, const float* norm_weight, float eps, void* normed,
                  const RouterShape* shape, const PackedMatrix* gate, int32_t* ids, float* weights,
                  const ExpertLists* lists) {
  const DeviceOps& ops = *fake_device_ops();
  const Status status = ops.add_rms_norm(context, stream, rows, hidden, residual, addend,
                                         norm_weight, eps, normed);
  if (status != kOk) return status;
  return route(context, stream, shape, rows, normed, gate, ids, weights, lists);
}
Status combine_norm(Context* context, Stream* stream, RowCount rows, int64_t hidden, int32_t top_k,
                    const int32_t* ids, const float* weights, const CombineSources* sources,
                    const void* shared, const float* shared_gate, float* residual,
                    const float* norm_weight, float eps, void* normed) {
  const Status status = combine(context, stream, rows, hidden, top_k, ids, weights, sources, shared,
                                shared_gate, 1, residual);
  if (status != kOk) return status;
  return fake_device_ops()->add_rms_norm(context, stream, rows, hidden, residual, nullptr,
                                         norm_weight, eps, normed);
}

}  // namespace

void add_experts(DeviceOps* table) {
  table->route = route;
  table->group_experts = group_experts;
  table->expert_ffn = expert_ffn;
  table->dense_ffn = dense_ffn;
  table->combine = combine;
  table->norm_route = norm_route;
  table->combine_norm = combine_norm;
}

}  // namespace fake
}  // namespace conclave::device
