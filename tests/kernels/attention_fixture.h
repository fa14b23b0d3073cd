#ifndef CONCLAVE_TESTS_KERNELS_ATTENTION_FIXTURE_H_
#define CONCLAVE_TESTS_KERNELS_ATTENTION_FIXTURE_H_

// A paged cache filled through append_kv, for the attention tests.

#include <algorithm>
#include <numeric>

#include "tests/kernels/kernel_fixture.h"

namespace conclave::kernels {

inline AttentionShape make_shape(int32_t heads, int32_t kv_heads, int32_t head_dim,
                                 int32_t window = 0) {
  AttentionShape shape;
  shape.heads = heads;
  shape.kv_heads = kv_heads;
  shape.head_dim = head_dim;
  shape.rotary_dim = head_dim / 2 * 2;
  shape.sliding_window = window;
  shape.scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  shape.norm_eps = 1e-6f;
  return shape;
}

// Cache memory starts as NaN: whatever is read without having been written shows.
struct PagedCache {
  PagedCache(const KernelSet& set, const AttentionShape& shape, int blocks)
      : stride(static_cast<int64_t>(set.kv_block_bytes(shape)) + 64),
        buffer(Buffer::allocate(static_cast<size_t>(stride * blocks)).value()) {
    std::memset(buffer.data(), 0xff, buffer.size());
  }
  KvLayerView view() { return {buffer.data(), stride}; }
  int64_t stride;
  Buffer buffer;
};

// One sequence's projected rows (q, k, v before norm and rope) and its block table.
struct TestSequence {
  TestSequence(std::mt19937& random, const AttentionShape& shape, int length,
               std::vector<int32_t> block_ids)
      : qkv(DType::kF32, length, (shape.heads + 2 * shape.kv_heads) * shape.head_dim),
        blocks(std::move(block_ids)) {
    qkv.fill(random);
  }
  TestMatrix qkv;
  std::vector<int32_t> blocks;
};

struct SequencePart {
  const TestSequence* sequence;
  int first;  // positions [first, end)
  int end;
};

// Appends the parts' rows and attends, as one call each over all parts; returns the output rows in
// order.
inline TestMatrix run_attention(KernelSet& set, const AttentionShape& shape,
                                const AttentionParameters& parameters,
                                std::span<const SequencePart> parts, PagedCache& cache) {
  std::vector<AttentionRow> rows;
  std::vector<int32_t> ids;
  int64_t total = 0;
  for (const SequencePart& part : parts) total += part.end - part.first;
  TestMatrix qkv(DType::kF32, total, parts[0].sequence->qkv.cols());
  for (const SequencePart& part : parts) {
    const auto table = static_cast<int32_t>(ids.size());
    ids.insert(ids.end(), part.sequence->blocks.begin(), part.sequence->blocks.end());
    for (int position = part.first; position < part.end; ++position) {
      for (int64_t c = 0; c < qkv.cols(); ++c) {
        qkv.set(static_cast<int64_t>(rows.size()), c, part.sequence->qkv.at(position, c));
      }
      rows.push_back({position, table});
    }
  }
  const AttentionBatch batch{rows, ids};
  const int64_t width = int64_t{shape.heads} * shape.head_dim;
  TestMatrix q(set.act_dtype(), total, width);
  TestMatrix out(set.act_dtype(), total, width);
  set.append_kv(shape, parameters, batch, qkv.view(), cache.view(), q.view());
  set.attention(shape, batch, q.cview(), cache.view(), out.view());
  EXPECT_TRUE(q.padding_intact());
  EXPECT_TRUE(out.padding_intact());
  return out;
}

struct RopeTable {
  explicit RopeTable(const AttentionShape& shape)
      : frequencies(static_cast<size_t>(shape.rotary_dim / 2)) {
    for (size_t i = 0; i < frequencies.size(); ++i) {
      frequencies[i] =
          std::pow(10000.0f, -2.0f * static_cast<float>(i) / static_cast<float>(shape.rotary_dim));
    }
    parameters.inverse_freq = frequencies.data();
  }
  std::vector<float> frequencies;
  AttentionParameters parameters;
};

inline std::vector<int32_t> block_range(int32_t first, int count) {
  std::vector<int32_t> ids(static_cast<size_t>(count));
  std::iota(ids.begin(), ids.end(), first);
  return ids;
}

}  // namespace conclave::kernels

#endif  // CONCLAVE_TESTS_KERNELS_ATTENTION_FIXTURE_H_
