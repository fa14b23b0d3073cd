// Two operations in one give the bits of one after the other, and every way to fill the tiled
// kernel's stages gives the same bits.

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>

#include "tests/kernels_cuda/seam_fixture.h"

namespace conclave::device {
namespace {

template <typename T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

class NormRouteTest : public SeamTest {
 protected:
  struct Result {
    std::vector<bf16> normed;
    std::vector<int32_t> ids, counts, offsets, pairs;
    std::vector<float> weights;
  };
  struct Case {
    int32_t experts, top_k;
    int64_t hidden;
  };

  // Rows of several kinds: ordinary, all zero (every logit ties), one with a NaN.
  std::vector<float> make_rows(int32_t rows, int64_t hidden) {
    std::normal_distribution<float> normal(0, 1);
    std::vector<float> data(static_cast<size_t>(rows * hidden));
    for (float& x : data) x = normal(random_);
    if (rows > 2) std::fill_n(data.begin() + hidden, hidden, 0.0f);
    if (rows > 4) data[static_cast<size_t>(3 * hidden + 1)] = std::nanf("");
    return data;
  }

  Result run(const Case& c, int32_t bound, int32_t actual, bool fused, bool with_lists) {
    const auto pairs = static_cast<size_t>(bound * c.top_k);
    const auto experts = static_cast<size_t>(c.experts);
    const Memory count = put(std::vector<int32_t>{actual});
    const Memory normed = poisoned<bf16>(static_cast<size_t>(bound * c.hidden));
    const Memory ids = poisoned<int32_t>(pairs), weights = poisoned<float>(pairs);
    const Memory counts = poisoned<int32_t>(experts), offsets = poisoned<int32_t>(experts + 1);
    const Memory list = poisoned<int32_t>(pairs);
    const ExpertLists lists{as<int32_t>(counts), as<int32_t>(offsets), as<int32_t>(list)};
    const RowCount rows{bound, as<int32_t>(count)};
    const RouterShape shape{c.experts, c.top_k, 1};
    const PackedMatrix gate{gate_.data(), kTypeBF16, c.experts, c.hidden};
    const ExpertLists* wanted = with_lists ? &lists : nullptr;
    if (fused) {
      ok(ops().norm_route(context(), stream(), rows, c.hidden, as<float>(residual_), nullptr,
                          as<float>(norm_), 1e-6f, normed.data(), &shape, &gate, as<int32_t>(ids),
                          as<float>(weights), wanted));
    } else {
      ok(ops().add_rms_norm(context(), stream(), rows, c.hidden, as<float>(residual_), nullptr,
                            as<float>(norm_), 1e-6f, normed.data()));
      ok(ops().route(context(), stream(), &shape, rows, normed.data(), &gate, as<int32_t>(ids),
                     as<float>(weights), wanted));
    }
    return {get<bf16>(normed, static_cast<size_t>(bound * c.hidden)),
            get<int32_t>(ids, pairs),
            get<int32_t>(counts, experts),
            get<int32_t>(offsets, experts + 1),
            get<int32_t>(list, pairs),
            get<float>(weights, pairs)};
  }

  Memory residual_, norm_, gate_;
};

TEST_F(NormRouteTest, IsTheNormThenTheRouteBitwise) {
  open(ComputeType::kBF16);
  for (const Case& c : {Case{128, 8, 2048},
                        {5, 2, 40},
                        {60, 4, 1000},
                        {64, 8, 129},
                        {256, 8, 4096},
                        {200, 1, 320},
                        {300, 6, 512}}) {
    auto gate = random_bf16(static_cast<size_t>(c.experts * c.hidden), 0.1f);
    // Two experts with one row: their logits tie for every input.
    std::copy_n(gate.begin(), c.hidden, gate.begin() + (c.experts - 1) * c.hidden);
    gate_ = pack(gate, c.experts, c.hidden);
    residual_ = put(make_rows(40, c.hidden));
    norm_ = put(make_rows(1, c.hidden));
    for (const auto& [bound, actual] :
         {std::pair{1, 1}, {2, 1}, {5, 5}, {8, 8}, {9, 9}, {16, 13}, {16, 0}, {40, 37}}) {
      const Result want = run(c, bound, actual, false, true);
      for (int i = 0; i < 3; ++i) {
        const Result got = run(c, bound, actual, true, true);
        EXPECT_TRUE(same_bits(got.normed, want.normed)) << c.experts << ", " << bound << " rows";
        EXPECT_TRUE(same_bits(got.ids, want.ids)) << c.experts << ", " << bound << " rows";
        EXPECT_TRUE(same_bits(got.weights, want.weights)) << c.experts << ", " << bound << " rows";
        EXPECT_TRUE(same_bits(got.counts, want.counts)) << c.experts << ", " << bound << " rows";
        EXPECT_TRUE(same_bits(got.offsets, want.offsets)) << c.experts << ", " << bound << " rows";
        EXPECT_TRUE(same_bits(got.pairs, want.pairs)) << c.experts << ", " << bound << " rows";
      }
      EXPECT_TRUE(same_bits(run(c, bound, actual, true, false).ids, want.ids)) << bound;
    }
  }
}

class CombineNormTest : public SeamTest {};

TEST_F(CombineNormTest, IsTheSumThenTheNormBitwise) {
  for (const ComputeType compute : {ComputeType::kBF16, ComputeType::kF32}) {
    open(compute);
    const DType act = device_->act_dtype();
    for (const int64_t hidden : {int64_t{40}, int64_t{129}, int64_t{2048}, int64_t{3000}}) {
      for (const auto& [bound, actual, top_k] :
           {std::tuple{1, 1, 8}, {16, 11, 2}, {33, 33, 0}, {600, 590, 4}}) {
        const int64_t pairs = int64_t{bound} * top_k;
        const auto floats = [&](int64_t count) {
          Memory memory = device_->alloc(static_cast<size_t>(count) * 4 + 16, "a test").value();
          ok(ops().fill_random(context(), stream(), memory.data(), kTypeF32, count,
                               static_cast<uint64_t>(count), 1.0f));
          return memory;
        };
        const auto rows_of = [&](int64_t count) {
          Memory memory = device_->alloc(static_cast<size_t>(count) * 4 + 16, "a test").value();
          ok(ops().fill_random(context(), stream(), memory.data(), static_cast<int32_t>(act), count,
                               static_cast<uint64_t>(count + 1), 1.0f));
          return memory;
        };
        const Memory local = rows_of(pairs * hidden), remote = rows_of(2 * pairs * hidden);
        const Memory shared = rows_of(bound * hidden), gate = floats(bound);
        const Memory weights = floats(pairs), norm = floats(hidden), start = floats(bound * hidden);
        const Memory owner = put(std::vector<int32_t>{0, 1, 0, 0, 1, 1, 0, 1});
        std::vector<int32_t> ids;
        for (int64_t p = 0; p < pairs; ++p) ids.push_back(static_cast<int32_t>(p % top_k));
        ids.push_back(0);
        const Memory device_ids = put(ids), count = put(std::vector<int32_t>{actual});
        const CombineSources sources{local.data(), remote.data(), as<int32_t>(owner), 0};
        const RowCount rows{bound, as<int32_t>(count)};
        const auto elements = static_cast<size_t>(bound * hidden);
        const auto run = [&](bool fused, std::vector<std::byte>* normed) {
          const Memory residual = poisoned<float>(elements);
          ok(ops().copy(context(), stream(), residual.data(), start.data(), elements * 4));
          const Memory out = poisoned<std::byte>(elements * dtype_bytes(act));
          if (fused) {
            ok(ops().combine_norm(context(), stream(), rows, hidden, top_k, as<int32_t>(device_ids),
                                  as<float>(weights), &sources, shared.data(), as<float>(gate),
                                  as<float>(residual), as<float>(norm), 1e-6f, out.data()));
          } else {
            ok(ops().combine(context(), stream(), rows, hidden, top_k, as<int32_t>(device_ids),
                             as<float>(weights), &sources, shared.data(), as<float>(gate), 1,
                             as<float>(residual)));
            ok(ops().add_rms_norm(context(), stream(), rows, hidden, as<float>(residual), nullptr,
                                  as<float>(norm), 1e-6f, out.data()));
          }
          *normed = get<std::byte>(out, elements * dtype_bytes(act));
          return get<float>(residual, elements);
        };
        std::vector<std::byte> want_normed, got_normed;
        const std::vector<float> want = run(false, &want_normed), got = run(true, &got_normed);
        EXPECT_TRUE(same_bits(got, want)) << hidden << ", " << bound << " rows";
        EXPECT_TRUE(same_bits(got_normed, want_normed)) << hidden << ", " << bound << " rows";
      }
    }
  }
}

class AppendAttentionTest : public SeamTest {
 protected:
  struct Case {
    int32_t heads, kv_heads, head_dim, qk_norm;
    int32_t window = 0;
    float clip = 0;
    int32_t rotary = -1;  // -1: all of the head
  };
  struct Result {
    std::vector<bf16> out, cache;
  };

  // One row for each position, each of a sequence of its own with keys before it; `padding` more
  // that the device's counts leave out.
  Result run(const Case& c, const std::vector<int32_t>& positions, int32_t padding, bool fused) {
    random_.seed(5);
    const AttentionShape shape{c.heads,
                               c.kv_heads,
                               c.head_dim,
                               c.rotary < 0 ? c.head_dim : c.rotary,
                               c.window,
                               c.qk_norm,
                               1.0f / std::sqrt(static_cast<float>(c.head_dim)),
                               1e-6f,
                               c.clip};
    std::vector<AttentionRow> rows;
    std::vector<AttentionChunk> chunks;
    std::vector<int32_t> ids;
    int32_t most = 0;
    for (const int32_t position : positions) {
      const auto table = static_cast<int32_t>(ids.size());
      chunks.push_back({static_cast<int32_t>(rows.size()), 1, position, table});
      rows.push_back({position, table});
      for (int32_t block = 0; block <= position / 16; ++block) {
        ids.push_back(static_cast<int32_t>(ids.size()));
      }
      most = std::max(most, position + 1);
    }
    std::shuffle(ids.begin(), ids.end(), random_);
    const size_t block_bytes = ops().kv_block_bytes(context(), &shape);
    const size_t cached = block_bytes / 2 * ids.size();
    const Memory cache = device_->alloc(cached * 2, "a test").value();
    ok(ops().fill_random(context(), stream(), cache.data(), kTypeBF16, static_cast<int64_t>(cached),
                         9, 1.0f));
    const auto actual = static_cast<int32_t>(rows.size());
    const int32_t bound = actual + padding;
    rows.resize(static_cast<size_t>(bound));
    chunks.resize(static_cast<size_t>(bound));
    const Memory count = put(std::vector<int32_t>{actual});
    const Memory device_rows = put(rows), device_chunks = put(chunks), device_ids = put(ids);
    const RowCount counted{bound, as<int32_t>(count)};
    const AttentionBatch batch{counted,
                               counted,
                               as<AttentionRow>(device_rows),
                               as<AttentionChunk>(device_chunks),
                               as<int32_t>(device_ids),
                               1,
                               most};
    const auto floats = [&](int64_t n, uint64_t seed, float scale) {
      Memory memory = device_->alloc(static_cast<size_t>(n) * 4, "a test").value();
      ok(ops().fill_random(context(), stream(), memory.data(), kTypeF32, n, seed, scale));
      return memory;
    };
    const int64_t query = int64_t{c.heads} * c.head_dim, key = int64_t{c.kv_heads} * c.head_dim;
    const Memory qkv = floats(bound * (query + 2 * key), 3, 2.0f);
    const Memory q_norm = floats(query, 4, 1.5f), k_norm = floats(key, 5, 1.5f);
    std::vector<float> frequencies;
    for (int32_t i = 0; i < c.head_dim / 2; ++i) {
      frequencies.push_back(
          std::pow(10000.0f, -2.0f * static_cast<float>(i) / static_cast<float>(c.head_dim)));
    }
    const Memory inverse_freq = put(frequencies);
    const AttentionParameters parameters{as<float>(q_norm), as<float>(k_norm),
                                         as<float>(inverse_freq), 1.25f};
    const KvLayer kv{cache.data(), static_cast<int64_t>(block_bytes)};
    const Memory q = poisoned<bf16>(static_cast<size_t>(bound * query));
    const Memory out = poisoned<bf16>(static_cast<size_t>(bound * query));
    if (fused) {
      ok(ops().append_attention(context(), stream(), &shape, &parameters, &batch, as<float>(qkv),
                                &kv, q.data(), out.data()));
    } else {
      ok(ops().append_kv(context(), stream(), &shape, &parameters, &batch, as<float>(qkv), &kv,
                         q.data()));
      ok(ops().attention(context(), stream(), &shape, &batch, q.data(), &kv, out.data()));
    }
    return {get<bf16>(out, static_cast<size_t>(bound * query)), get<bf16>(cache, cached)};
  }
};

TEST_F(AppendAttentionTest, IsTheAppendThenTheAttentionBitwise) {
  open(ComputeType::kBF16);
  std::vector<int32_t> many;
  for (int32_t i = 0; i < 70; ++i) many.push_back(i * 37 % 300);
  for (const Case& c : {Case{32, 4, 128, kQkNormPerHead},
                        {16, 16, 128, kQkNormNone},
                        {32, 8, 64, kQkNormPerHead},
                        {32, 2, 64, kQkNormNone, 0, 1.0f},
                        {32, 8, 128, kQkNormNone, 200},
                        {16, 4, 128, kQkNormFullWidth},
                        {16, 4, 128, kQkNormNone, 0, 0.0f, 64}}) {
    for (const auto& positions : {std::vector<int32_t>{0},
                                  {1},
                                  {15},
                                  {16},
                                  {127},
                                  {128},
                                  {1023},
                                  {4100},
                                  {5, 1024, 0},
                                  many}) {
      for (const int32_t padding : {0, 3}) {
        const Result want = run(c, positions, padding, false);
        for (int i = 0; i < 3; ++i) {
          const Result got = run(c, positions, padding, true);
          EXPECT_TRUE(same_bits(got.out, want.out))
              << c.heads << ", " << c.kv_heads << ", " << c.head_dim << ": " << positions.size()
              << " rows, the first at " << positions[0];
          EXPECT_TRUE(same_bits(got.cache, want.cache))
              << c.heads << ", " << c.kv_heads << ", " << c.head_dim << ": " << positions.size()
              << " rows, the first at " << positions[0];
        }
      }
    }
  }
}

class LongProductTest : public SeamTest {};

// More than kSegmentK of k, side by side, one kernel after the other or in one; and less.
TEST_F(LongProductTest, ARowHasTheSameBitsWhateverTheOthersAre) {
  open(ComputeType::kBF16);
  for (const auto& [n, k] :
       {std::pair<int64_t, int64_t>{2048, 4096}, {40, 2176}, {4000, 3072}, {5120, 2048}}) {
    constexpr int32_t kRows = 300;
    const Memory weight = pack(random_bf16(static_cast<size_t>(n * k), 0.05f), n, k);
    const PackedMatrix matrix{weight.data(), kTypeBF16, n, k};
    const std::vector<bf16> x = random_bf16(static_cast<size_t>(kRows * k), 1.0f);
    const Memory device_x = put(x);
    std::vector<float> bias(static_cast<size_t>(n)), start(static_cast<size_t>(kRows * n));
    std::normal_distribution<float> normal(0, 1);
    for (float& value : bias) value = normal(random_);
    for (float& value : start) value = normal(random_);
    const Memory device_bias = put(bias);
    for (const int32_t accumulate : {0, 1}) {
      const auto run = [&](int32_t rows) {
        Memory out = put(start);
        ok(ops().matmul(context(), stream(), {rows, nullptr}, device_x.data(), &matrix,
                        accumulate != 0 ? nullptr : as<float>(device_bias), accumulate,
                        as<float>(out)));
        return get<float>(out, static_cast<size_t>(rows * n));
      };
      const std::vector<float> want = run(kRows);
      for (const int32_t rows : {1, 2, 8, 9, 16, 17, 33, 64, 65, 150}) {
        const std::vector<float> first(want.begin(), want.begin() + rows * n);
        EXPECT_TRUE(same_bits(run(rows), first)) << n << " x " << k << ", " << rows << " rows";
      }
    }
  }
}

class TuningTest : public SeamTest {
 protected:
  // Expert rows of 1,500 x 2 pairs over 6 experts of unequal size, and a dense product.
  std::vector<bf16> experts(int32_t rows) {
    constexpr int32_t kExperts = 6, kTopK = 2;
    constexpr int64_t kHidden = 448, kWidth = 320;
    random_.seed(3);
    std::vector<Memory> memory;
    std::vector<ExpertSlot> slots;
    for (int32_t e = 0; e < kExperts; ++e) {
      const Memory gate = put(random_bf16(kHidden * kWidth, 0.05f));
      const Memory up = put(random_bf16(kHidden * kWidth, 0.05f));
      const WeightPart a{gate.data(), kTypeBF16, kWidth, kHidden};
      const WeightPart b{up.data(), kTypeBF16, kWidth, kHidden};
      memory.push_back(
          poisoned<std::byte>(ops().packed_bytes(context(), 2 * kWidth, kHidden, kTypeBF16)));
      ok(ops().pack_gate_up(context(), stream(), &a, &b, kTypeBF16, memory.back().data()));
      synchronize();
      memory.push_back(pack(random_bf16(kHidden * kWidth, 0.05f), kHidden, kWidth));
      slots.push_back({memory[memory.size() - 2].data(), memory.back().data()});
    }
    std::vector<int32_t> ids;
    for (int32_t t = 0; t < rows; ++t) {
      ids.push_back(t % 3 == 0 ? 0 : t % 4);
      ids.push_back(4 + t % 2);
    }
    const auto pairs = ids.size();
    const Memory x = put(random_bf16(static_cast<size_t>(rows * kHidden), 1.0f));
    const Memory device_ids = put(ids), device_slots = put(slots);
    const Memory counts = poisoned<int32_t>(kExperts), offsets = poisoned<int32_t>(kExperts + 1);
    const Memory list = poisoned<int32_t>(pairs), out = poisoned<bf16>(pairs * kHidden);
    const ExpertLists lists{as<int32_t>(counts), as<int32_t>(offsets), as<int32_t>(list)};
    const RouterShape router{kExperts, kTopK, 1};
    const ExpertShape shape{kTypeBF16, kHidden, kWidth};
    ok(ops().group_experts(context(), stream(), &router, {rows, nullptr}, as<int32_t>(device_ids),
                           nullptr, &lists));
    ok(ops().expert_ffn(context(), stream(), &router, &shape, {rows, nullptr}, x.data(), &lists,
                        as<const ExpertSlot>(device_slots), out.data()));
    return get<bf16>(out, pairs * kHidden);
  }
};

TEST_F(TuningTest, EveryWayToFillAStageGivesTheSameBits) {
  for (const int32_t rows : {1, 150, 1500}) {
    open(ComputeType::kBF16);
    const std::vector<bf16> want = experts(rows);
    for (const char* tuning : {"tiled.cluster=1", "tiled.cluster=2", "tiled.spread=0", "deep=0",
                               "six=0", "near=0", "trio=0", "trio=2"}) {
      ASSERT_EQ(setenv("CONCLAVE_CUDA_TUNING", tuning, 1), 0);
      open(ComputeType::kBF16);
      unsetenv("CONCLAVE_CUDA_TUNING");
      EXPECT_TRUE(same_bits(experts(rows), want)) << tuning << ", " << rows << " rows";
    }
  }
}

TEST_F(TuningTest, AnUnknownTuningIsRefused) {
  for (const char* tuning : {"tiled.nothing=1", "fuse", "fuse=2", "tiled.cluster=3", "six="}) {
    ASSERT_EQ(setenv("CONCLAVE_CUDA_TUNING", tuning, 1), 0);
    const auto device = Device::create(kernels::loaded_device_library(), 0, ComputeType::kBF16);
    unsetenv("CONCLAVE_CUDA_TUNING");
    EXPECT_FALSE(device.ok()) << tuning;
  }
}

}  // namespace
}  // namespace conclave::device
