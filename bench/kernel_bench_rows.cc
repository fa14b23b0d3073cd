// Everything of a step that is no weight product: attention, norms, sums, routing, sampling.

#include <cmath>
#include <numeric>

#include "bench/kernel_bench_run.h"

namespace conclave::bench {

using device::AttentionBatch;
using device::AttentionChunk;
using device::AttentionRow;
using device::AttentionShape;
using device::CombineSources;
using device::KvLayer;
using device::kQkNormNone;
using device::kQkNormPerHead;
using device::kTypeBF16;
using device::Memory;
using device::PackedMatrix;
using device::RouterShape;
using device::SamplingResult;
using device::SamplingRow;
using device::WeightPart;

void KernelBench::bench_attention(int32_t sequences, int32_t length, int32_t chunk) {
  const AttentionShape shape{model_.heads,
                             model_.kv_heads,
                             model_.head_dim,
                             model_.head_dim,
                             0,
                             kQkNormNone,
                             1.0f / std::sqrt(static_cast<float>(model_.head_dim)),
                             1e-6f,
                             0};
  const int32_t blocks = (length + 15) / 16;
  const size_t block_bytes = ops().kv_block_bytes(context(), &shape);
  const Memory cache =
      random(static_cast<int64_t>(block_bytes / 2) * blocks * sequences, DType::kBF16, 1.0f);
  std::vector<AttentionRow> row;
  std::vector<AttentionChunk> chunks;
  std::vector<int32_t> ids(static_cast<size_t>(blocks * sequences));
  std::iota(ids.begin(), ids.end(), 0);
  std::shuffle(ids.begin(), ids.end(), random_);
  for (int32_t s = 0; s < sequences; ++s) {
    chunks.push_back({static_cast<int32_t>(row.size()), chunk, length - chunk, s * blocks});
    for (int32_t i = 0; i < chunk; ++i) row.push_back({length - chunk + i, s * blocks});
  }
  const Memory device_row = put(row), device_chunks = put(chunks), device_ids = put(ids);
  const auto t = static_cast<int32_t>(row.size());
  const AttentionBatch batch{rows(t),
                             rows(sequences),
                             as<AttentionRow>(device_row),
                             as<AttentionChunk>(device_chunks),
                             as<int32_t>(device_ids),
                             chunk,
                             length};
  const int64_t width = int64_t{model_.heads} * model_.head_dim;
  const Memory q = random(t * width, DType::kBF16, 1.7f);
  const Memory out = alloc(static_cast<size_t>(t * width) * 2);
  const KvLayer kv{cache.data(), static_cast<int64_t>(block_bytes)};
  const double us = time([&](int) {
    ok(ops().attention(context(), stream(), &shape, &batch, q.data(), &kv, out.data()));
  });
  const double keys = chunk == 1 ? length : (static_cast<double>(length) - chunk / 2.0);
  const double kv_bytes = static_cast<double>(block_bytes) * blocks * sequences;
  record("attention " + std::to_string(length) + (chunk == 1 ? " decode" : " prefill"), t, us,
       kv_bytes + 4.0 * t * static_cast<double>(width),
       4.0 * keys * t * static_cast<double>(width));
  if (chunk != 1) return;
  // As a decode step runs it: norms, rotary embedding and append included.
  const int64_t projected = width + 2 * int64_t{model_.kv_heads} * model_.head_dim;
  const Memory qkv = random(t * projected, DType::kF32, 1.7f);
  const Memory weight = random(model_.head_dim, DType::kF32, 1.0f);
  const Memory inverse_freq = random(model_.head_dim / 2, DType::kF32, 1.0f);
  const device::AttentionParameters parameters{as<float>(weight), as<float>(weight),
                                               as<float>(inverse_freq), 1.0f};
  AttentionShape normed = shape;
  normed.qk_norm = kQkNormPerHead;
  const double fused_us = time([&](int) {
    ok(ops().append_attention(context(), stream(), &normed, &parameters, &batch, as<float>(qkv),
                              &kv, q.data(), out.data()));
  });
  record("append + attention " + std::to_string(length), t, fused_us,
         kv_bytes + 4.0 * static_cast<double>(t * projected) + 2.0 * t * static_cast<double>(width),
         4.0 * keys * t * static_cast<double>(width));
}

void KernelBench::bench_rows(int32_t t) {
  const int64_t h = model_.hidden;
  const Memory residual = random(t * h, DType::kF32, 1), addend = random(t * h, DType::kF32, 1);
  const Memory weight = random(h, DType::kF32, 1), out = alloc(static_cast<size_t>(t * h) * 4);
  record("add + rms_norm", t, time([&](int) {
         ok(ops().add_rms_norm(context(), stream(), rows(t), h, as<float>(residual),
                               as<float>(addend), as<float>(weight), 1e-6f, out.data()));
       }),
       static_cast<double>(t * h) * 14, 0);
  const Routing routing = make_routing(t);
  const Memory pair_rows = random(int64_t{t} * model_.top_k * h, DType::kBF16, 1);
  const CombineSources sources{pair_rows.data(), nullptr, nullptr, 0};
  record("combine", t, time([&](int) {
         ok(ops().combine(context(), stream(), rows(t), h, model_.top_k,
                          as<int32_t>(routing.device_ids), as<float>(routing.device_weights),
                          &sources, nullptr, nullptr, 1, as<float>(out)));
       }),
       static_cast<double>(t * h) * (2 * model_.top_k + 8), 0);
  record("combine + rms_norm", t, time([&](int) {
           ok(ops().combine_norm(context(), stream(), rows(t), h, model_.top_k,
                                 as<int32_t>(routing.device_ids),
                                 as<float>(routing.device_weights), &sources, nullptr, nullptr,
                                 as<float>(residual), as<float>(weight), 1e-6f, out.data()));
         }),
         static_cast<double>(t * h) * (2 * model_.top_k + 10), 0);
}

void KernelBench::bench_routing(int32_t t) {
  const int64_t h = model_.hidden;
  const Routing routing = make_routing(t);
  const Memory x = random(t * h, DType::kBF16, 1.7f);
  const Memory gate = random(int64_t{model_.experts} * h, DType::kBF16, 0.05f);
  const size_t bytes = ops().packed_bytes(context(), model_.experts, h, kTypeBF16);
  const Memory packed = alloc(bytes);
  const WeightPart part{gate.data(), kTypeBF16, model_.experts, h};
  ok(ops().pack_matrix(context(), stream(), &part, 1, kTypeBF16, packed.data()));
  const PackedMatrix matrix{packed.data(), kTypeBF16, model_.experts, h};
  const RouterShape router{model_.experts, model_.top_k, 1};
  record("route + lists", t, time([&](int) {
         ok(ops().route(context(), stream(), &router, rows(t), x.data(), &matrix,
                        as<int32_t>(routing.device_ids), as<float>(routing.device_weights),
                        &routing.lists));
       }),
       static_cast<double>(bytes), 2.0 * t * static_cast<double>(model_.experts * h));
  const Memory residual = random(t * h, DType::kF32, 1), weight = random(h, DType::kF32, 1);
  record("norm + route + lists", t, time([&](int) {
           ok(ops().norm_route(context(), stream(), rows(t), h, as<float>(residual), nullptr,
                               as<float>(weight), 1e-6f, x.data(), &router, &matrix,
                               as<int32_t>(routing.device_ids), as<float>(routing.device_weights),
                               &routing.lists));
         }),
         static_cast<double>(bytes) + static_cast<double>(t * h) * 6,
         2.0 * t * static_cast<double>(model_.experts * h));
}

void KernelBench::bench_sampling(int32_t t) {
  // As flat as a model gets, and with a peak.
  std::vector<float> normal(static_cast<size_t>(t) * static_cast<size_t>(model_.vocab));
  std::normal_distribution<float> distribution(0, 3);
  for (float& x : normal) x = distribution(random_);
  const Memory peaked = put(normal);
  const Memory flat = random(int64_t{t} * model_.vocab, DType::kF32, 8);
  const Memory results = alloc(static_cast<size_t>(t) * sizeof(SamplingResult));
  for (const int kind : {0, 1, 2, 3}) {
    std::vector<SamplingRow> wanted(static_cast<size_t>(t));
    for (SamplingRow& row : wanted) {
      row = {};
      row.temperature = kind == 0 ? 0.0f : 1.0f;
      row.top_p = kind >= 2 ? 0.9f : 1.0f;
      row.repetition_penalty = 1;
      row.top_logprobs = row.target = -1;
      row.seed = 5;
    }
    const Memory device_wanted = put(wanted);
    const char* names[] = {"sample greedy", "sample", "sample top-p", "sample top-p, flat"};
    const Memory& logits = kind == 3 ? flat : peaked;
    record(names[kind], t, time([&](int) {
           ok(ops().sample(context(), stream(), rows(t), model_.vocab, as<float>(logits),
                           as<SamplingRow>(device_wanted), nullptr, nullptr,
                           as<SamplingResult>(results)));
         }),
         static_cast<double>(t) * model_.vocab * 4, 0);
  }
}

}  // namespace conclave::bench
