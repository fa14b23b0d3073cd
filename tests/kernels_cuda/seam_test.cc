// What the seam promises beyond a KernelSet: routing with lists, pairs, device-side row counts,
// accumulation, absent experts, graphs, and the same bits every time.

#include <algorithm>
#include <cmath>
#include <cstring>

#include "tests/kernels_cuda/seam_fixture.h"

namespace conclave::device {
namespace {

double as_double(bf16 x) { return static_cast<double>(bf16_to_float(x)); }

struct Choice {
  std::vector<int32_t> ids, counts, offsets, pairs;
  std::vector<float> weights;
};

class RouteSeamTest : public SeamTest {
 protected:
  Choice route(const RouterShape& shape, int32_t bound, int32_t actual, int64_t k, const Memory& x,
               const Memory& gate) {
    const auto pairs = static_cast<size_t>(bound * shape.top_k);
    const auto experts = static_cast<size_t>(shape.experts);
    const Memory count = put(std::vector<int32_t>{actual});
    const Memory ids = poisoned<int32_t>(pairs), weights = poisoned<float>(pairs);
    const Memory counts = poisoned<int32_t>(experts), offsets = poisoned<int32_t>(experts + 1);
    const Memory list = poisoned<int32_t>(pairs);
    const ExpertLists lists{as<int32_t>(counts), as<int32_t>(offsets), as<int32_t>(list)};
    const PackedMatrix matrix{gate.data(), kTypeBF16, shape.experts, k};
    ok(ops().route(context(), stream(), &shape, {bound, as<int32_t>(count)}, x.data(), &matrix,
                   as<int32_t>(ids), as<float>(weights), &lists));
    return {get<int32_t>(ids, pairs), get<int32_t>(counts, experts),
            get<int32_t>(offsets, experts + 1), get<int32_t>(list, pairs),
            get<float>(weights, pairs)};
  }
};

TEST_F(RouteSeamTest, ChoosesTheLargestLogitsAndListsThem) {
  open(ComputeType::kBF16);
  for (const auto& [experts, top_k, k] :
       {std::tuple{5, 2, 40}, {128, 8, 2048}, {64, 8, 129}, {60, 4, 1000}, {33, 1, 64}}) {
    const auto gate = random_bf16(static_cast<size_t>(experts * k), 0.1f);
    const Memory packed = pack(gate, experts, k);
    const auto x = random_bf16(static_cast<size_t>(600 * k), 1.0f);
    const Memory device_x = put(x);
    const RouterShape shape{experts, top_k, 1};
    Choice first;
    for (const auto& [bound, actual] :
         {std::pair{600, 597}, {300, 300}, {128, 100}, {64, 64}, {8, 3}, {1, 1}}) {
      const Choice got = route(shape, bound, actual, k, device_x, packed);
      if (first.ids.empty()) first = got;
      const auto used = static_cast<size_t>(actual * top_k);
      // Law 1: a row's choice and weights are those of the largest batch.
      ASSERT_EQ(0, std::memcmp(got.ids.data(), first.ids.data(), used * 4)) << bound;
      ASSERT_EQ(0, std::memcmp(got.weights.data(), first.weights.data(), used * 4)) << bound;
      for (size_t p = used; p < got.ids.size(); ++p) {
        ASSERT_EQ(got.ids[p], -1);
        ASSERT_EQ(got.weights[p], 0.0f);
      }
      std::vector<int32_t> expected;
      for (int32_t e = 0; e < experts; ++e) {
        ASSERT_EQ(got.offsets[static_cast<size_t>(e)], static_cast<int32_t>(expected.size()));
        for (size_t p = 0; p < used; ++p) {
          if (got.ids[p] == e) expected.push_back(static_cast<int32_t>(p));
        }
        ASSERT_EQ(got.counts[static_cast<size_t>(e)],
                  static_cast<int32_t>(expected.size()) - got.offsets[static_cast<size_t>(e)]);
      }
      ASSERT_EQ(got.offsets.back(), static_cast<int32_t>(used));
      ASSERT_TRUE(std::equal(expected.begin(), expected.end(), got.pairs.begin()));
    }
    for (size_t t = 0; t < 597; t += 13) {
      std::vector<double> logits(static_cast<size_t>(experts));
      for (size_t e = 0; e < logits.size(); ++e) {
        for (size_t i = 0; i < static_cast<size_t>(k); ++i) {
          logits[e] += as_double(gate[e * static_cast<size_t>(k) + i]) *
                       as_double(x[t * static_cast<size_t>(k) + i]);
        }
      }
      std::vector<double> sorted = logits;
      std::sort(sorted.rbegin(), sorted.rend());
      double sum = 0;
      const int32_t* ids = &first.ids[t * static_cast<size_t>(top_k)];
      for (int32_t j = 0; j < top_k; ++j) {
        if (j > 0) {
          ASSERT_LT(ids[j - 1], ids[j]);
        }
        ASSERT_GE(logits[static_cast<size_t>(ids[j])],
                  sorted[static_cast<size_t>(top_k - 1)] - 1e-4);
        sum += std::exp(logits[static_cast<size_t>(ids[j])]);
      }
      for (int32_t j = 0; j < top_k; ++j) {
        ASSERT_NEAR(first.weights[t * static_cast<size_t>(top_k) + static_cast<size_t>(j)],
                    std::exp(logits[static_cast<size_t>(ids[j])]) / sum, 1e-4);
      }
    }
  }
}

class ExpertSeamTest : public SeamTest {
 protected:
  static constexpr int32_t kExperts = 6, kTopK = 2;
  static constexpr int32_t kAbsent = 4;  // not resident

  void make(int64_t hidden, int64_t width) {
    if (device_ == nullptr) open(ComputeType::kBF16);
    for (auto* weights : {&gate_, &up_, &down_}) weights->clear();
    memory_.clear();
    host_slots_.clear();
    ids_.clear();
    shape_ = {kTypeBF16, hidden, width};
    std::vector<ExpertSlot> slots;
    for (int32_t e = 0; e < kExperts; ++e) {
      const auto n = static_cast<size_t>(hidden * width);
      gate_.push_back(random_bf16(n, 1 / std::sqrt(static_cast<float>(hidden))));
      up_.push_back(random_bf16(n, 1 / std::sqrt(static_cast<float>(hidden))));
      down_.push_back(random_bf16(n, 1 / std::sqrt(static_cast<float>(width))));
      const Memory gate = put(gate_.back()), up = put(up_.back());
      const WeightPart a{gate.data(), kTypeBF16, width, hidden};
      const WeightPart b{up.data(), kTypeBF16, width, hidden};
      memory_.push_back(
          poisoned<std::byte>(ops().packed_bytes(context(), 2 * width, hidden, kTypeBF16)));
      ok(ops().pack_gate_up(context(), stream(), &a, &b, kTypeBF16, memory_.back().data()));
      synchronize();
      memory_.push_back(pack(down_.back(), hidden, width));
      host_slots_.push_back({memory_[memory_.size() - 2].data(), memory_.back().data()});
      slots.push_back(e == kAbsent ? ExpertSlot{nullptr, nullptr} : host_slots_.back());
    }
    slots_ = put(slots);
    // Expert 0 gets a third of all pairs, expert 5 none.
    for (int32_t t = 0; t < kRows; ++t) {
      const int32_t first = t % 3 == 0 ? 0 : t % 4;
      ids_.push_back(first);
      ids_.push_back(first == 3 || t % 5 != 0 ? 4 : 3);
    }
    x_ = random_bf16(static_cast<size_t>(kRows * hidden), 1.0f);
    device_x_ = put(x_);
  }
  std::vector<bf16> run(int32_t bound, int32_t actual) {
    const Memory ids = put(ids_), count = put(std::vector<int32_t>{actual});
    const Memory counts = poisoned<int32_t>(kExperts), offsets = poisoned<int32_t>(kExperts + 1);
    const Memory pairs = poisoned<int32_t>(static_cast<size_t>(bound * kTopK));
    const ExpertLists lists{as<int32_t>(counts), as<int32_t>(offsets), as<int32_t>(pairs)};
    const RouterShape router{kExperts, kTopK, 1};
    const RowCount rows{bound, as<int32_t>(count)};
    ok(ops().group_experts(context(), stream(), &router, rows, as<int32_t>(ids), nullptr, &lists));
    const auto size = static_cast<size_t>(bound * kTopK * shape_.hidden);
    const Memory out = poisoned<bf16>(size);
    ok(ops().expert_ffn(context(), stream(), &router, &shape_, rows, device_x_.data(), &lists,
                        as<const ExpertSlot>(slots_), out.data()));
    return get<bf16>(out, size);
  }
  std::vector<double> expected(size_t pair) const {
    const auto e = static_cast<size_t>(ids_[pair]);
    const auto h = static_cast<size_t>(shape_.hidden), w = static_cast<size_t>(shape_.intermediate);
    std::vector<double> hidden(w), out(h);
    for (size_t i = 0; i < w; ++i) {
      double gate = 0, up = 0;
      for (size_t j = 0; j < h; ++j) {
        gate += as_double(gate_[e][i * h + j]) * as_double(x_[pair / kTopK * h + j]);
        up += as_double(up_[e][i * h + j]) * as_double(x_[pair / kTopK * h + j]);
      }
      hidden[i] =
          static_cast<double>(round_to_bf16(static_cast<float>(gate / (1 + std::exp(-gate)) * up)));
    }
    for (size_t i = 0; i < h; ++i) {
      for (size_t j = 0; j < w; ++j) out[i] += as_double(down_[e][i * w + j]) * hidden[j];
    }
    return out;
  }

  static constexpr int32_t kRows = 1500;
  ExpertShape shape_{};
  std::vector<std::vector<bf16>> gate_, up_, down_;
  std::vector<Memory> memory_;
  std::vector<ExpertSlot> host_slots_;
  Memory slots_, device_x_;
  std::vector<int32_t> ids_;
  std::vector<bf16> x_;
};

TEST_F(ExpertSeamTest, PairsOfResidentExpertsAreComputedWithTheSameBitsInEveryBatch) {
  for (const auto& [hidden, width] : {std::pair{128, 64}, {320, 200}, {72, 40}, {256, 192}}) {
    make(hidden, width);
    const auto h = static_cast<size_t>(hidden);
    const std::vector<bf16> all = run(kRows, kRows);
    double difference = 0, norm = 0;
    for (size_t p = 0; p < ids_.size(); ++p) {
      if (ids_[p] == kAbsent) {
        for (size_t i = 0; i < h; ++i) ASSERT_EQ(all[p * h + i].bits, 0xffff) << "pair " << p;
        continue;
      }
      if (p % 97 != 0) continue;
      const std::vector<double> want = expected(p);
      for (size_t i = 0; i < h; ++i) {
        const double d = as_double(all[p * h + i]) - want[i];
        difference += d * d;
        norm += want[i] * want[i];
      }
    }
    EXPECT_LE(std::sqrt(difference / norm), 4e-3) << hidden << "x" << width;
    for (const auto& [bound, actual] : {std::pair{1, 1},
                                        {2, 1},
                                        {5, 5},
                                        {16, 11},
                                        {33, 33},
                                        {64, 64},
                                        {200, 150},
                                        {700, 699},
                                        {1000, 0}}) {
      const std::vector<bf16> some = run(bound, actual);
      const auto used = static_cast<size_t>(actual * kTopK) * h;
      ASSERT_EQ(0, std::memcmp(some.data(), all.data(), used * 2)) << bound << " rows";
      for (size_t i = used; i < some.size(); ++i) ASSERT_EQ(some[i].bits, 0xffff) << bound;
    }
  }
}

TEST_F(ExpertSeamTest, ADenseMlpIsAnExpertThatEveryRowUses) {
  make(192, 128);
  const Memory out = poisoned<bf16>(static_cast<size_t>(kRows * shape_.hidden));
  const auto h = static_cast<size_t>(shape_.hidden);
  const std::vector<bf16> pairs = run(kRows, kRows);
  for (const int32_t rows : {kRows, 64, 7, 1}) {
    ok(ops().dense_ffn(context(), stream(), &shape_, {rows, nullptr}, device_x_.data(),
                       host_slots_.data(), out.data()));
    const auto got = get<bf16>(out, static_cast<size_t>(rows) * h);
    for (size_t t = 0; t < static_cast<size_t>(rows); ++t) {
      if (ids_[t * kTopK] != 0) continue;
      ASSERT_EQ(0, std::memcmp(&got[t * h], &pairs[t * kTopK * h], h * 2))
          << rows << " rows, " << t;
    }
  }
}

TEST_F(ExpertSeamTest, AHundredRunsGiveTheSameBits) {
  make(256, 192);
  for (const int32_t rows : {3, 40, 1500}) {
    const std::vector<bf16> first = run(rows, rows);
    for (int i = 0; i < 100; ++i) {
      const std::vector<bf16> again = run(rows, rows);
      ASSERT_EQ(0, std::memcmp(first.data(), again.data(), first.size() * 2)) << rows << " " << i;
    }
  }
}

class MatmulSeamTest : public SeamTest {};

TEST_F(MatmulSeamTest, RowsPastTheCountStayUntouchedAndSumsAccumulate) {
  open(ComputeType::kBF16);
  for (const auto& [n, k] : {std::pair{72, 128}, {300, 192}, {64, 100}}) {
    const Memory weight = pack(random_bf16(static_cast<size_t>(n * k), 0.1f), n, k);
    const Memory x = put(random_bf16(static_cast<size_t>(500 * k), 1.0f));
    const PackedMatrix matrix{weight.data(), kTypeBF16, n, k};
    for (const auto& [bound, actual] : {std::pair{500, 431}, {64, 50}, {8, 0}}) {
      const auto size = static_cast<size_t>(bound * n);
      const auto used = static_cast<size_t>(actual * n);
      const Memory count = put(std::vector<int32_t>{actual});
      const Memory once = poisoned<float>(size);
      ok(ops().matmul(context(), stream(), {bound, as<int32_t>(count)}, x.data(), &matrix, nullptr,
                      0, as<float>(once)));
      const auto product = get<float>(once, size);
      const std::vector<float> before(size, 2.5f);
      const Memory sum = put(before);
      ok(ops().matmul(context(), stream(), {bound, as<int32_t>(count)}, x.data(), &matrix, nullptr,
                      1, as<float>(sum)));
      const auto total = get<float>(sum, size);
      for (size_t i = 0; i < used; ++i) ASSERT_EQ(total[i], 2.5f + product[i]);
      for (size_t i = used; i < size; ++i) {
        ASSERT_EQ(total[i], 2.5f);
        ASSERT_TRUE(std::isnan(product[i]));
      }
    }
  }
}

TEST_F(MatmulSeamTest, AReplayedGraphReadsTheCountOfItsTime) {
  open(ComputeType::kBF16);
  constexpr int64_t kN = 256, kK = 192;
  const Memory weight = pack(random_bf16(kN * kK, 0.1f), kN, kK);
  const Memory x = put(random_bf16(64 * kK, 1.0f));
  const PackedMatrix matrix{weight.data(), kTypeBF16, kN, kK};
  const Memory count = put(std::vector<int32_t>{64});
  const Memory out = poisoned<float>(64 * kN);
  const auto launch = [&] {
    ok(ops().matmul(context(), stream(), {64, as<int32_t>(count)}, x.data(), &matrix, nullptr, 0,
                    as<float>(out)));
  };
  launch();
  const auto all = get<float>(out, 64 * kN);
  ok(ops().graph_begin(context(), stream()));
  launch();
  Graph* handle = nullptr;
  ok(ops().graph_end(context(), stream(), &handle));
  const OwnedGraph graph(device_.get(), handle);
  for (const int32_t rows : {1, 17, 64}) {
    ok(ops().fill(context(), stream(), out.data(), 0xff, out.bytes()));
    ok(ops().copy(context(), stream(), count.data(), &rows, sizeof rows));
    ok(ops().graph_launch(context(), stream(), graph.get()));
    const auto got = get<float>(out, 64 * kN);
    const auto used = static_cast<size_t>(rows * kN);
    ASSERT_EQ(0, std::memcmp(got.data(), all.data(), used * 4)) << rows;
    for (size_t i = used; i < got.size(); ++i) ASSERT_TRUE(std::isnan(got[i])) << rows;
  }
}

}  // namespace
}  // namespace conclave::device
