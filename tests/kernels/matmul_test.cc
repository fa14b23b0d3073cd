#include <algorithm>

#include "tests/kernels/kernel_fixture.h"

namespace conclave::kernels {
namespace {

class MatmulTest : public testing::TestWithParam<SetCase> {};

TEST_P(MatmulTest, MatchesReferenceForOddShapesAndEveryStoredType) {
  const ComputeType compute = GetParam().compute;
  const auto set = make_set(GetParam().name, compute);
  const auto reference = make_reference_kernels(compute);
  std::mt19937 random(1);
  const int64_t rows[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 14, 15, 17, 28, 29, 43, 64};
  for (const DType file : {DType::kF32, DType::kF16, DType::kBF16}) {
    for (const auto& [n, k] : {std::pair{1, 1},
                               {7, 3},
                               {32, 64},
                               {33, 17},
                               {64, 31},
                               {100, 129},
                               {257, 80},
                               {160, 513}}) {
      const FileWeights weights(random, file, n, k);
      const WeightRows part = weights.rows();
      const Packed packed(*set, std::span(&part, 1), set->stored_dtype(file));
      const Packed expected_packed(*reference, std::span(&part, 1), set->stored_dtype(file));
      std::vector<float> bias(static_cast<size_t>(n));
      for (float& b : bias) b = std::normal_distribution<float>()(random);
      for (const int64_t t : rows) {
        TestMatrix x(set->act_dtype(), t, k);
        x.fill(random);
        TestMatrix out(DType::kF32, t, n);
        TestMatrix expected(DType::kF32, t, n);
        const float* b = t % 2 == 0 ? bias.data() : nullptr;
        set->matmul(x.cview(), packed.matrix, b, out.view());
        reference->matmul(x.cview(), expected_packed.matrix, b, expected.view());
        // Products of rounded inputs: float32 sums in either compute type.
        ASSERT_LE(relative_error(out, expected), 1e-5)
            << dtype_name(file) << " n " << n << " k " << k << " t " << t;
        ASSERT_TRUE(out.padding_intact());
      }
    }
  }
}

TEST_P(MatmulTest, StacksPartsOfDifferentTypes) {
  const auto set = make_set(GetParam().name, GetParam().compute);
  const auto reference = make_reference_kernels(GetParam().compute);
  std::mt19937 random(2);
  const FileWeights q(random, DType::kBF16, 40, 24);
  const FileWeights k(random, DType::kF32, 8, 24);
  const FileWeights v(random, DType::kF16, 9, 24);
  const WeightRows parts[] = {q.rows(), k.rows(), v.rows()};
  for (const DType stored : {set->stored_dtype(DType::kF32), DType::kBF16}) {
    const Packed packed(*set, parts, stored);
    const Packed expected_packed(*reference, parts, stored);
    EXPECT_EQ(packed.matrix.n, 57);
    EXPECT_EQ(packed.matrix.k, 24);
    TestMatrix x(set->act_dtype(), 3, 24);
    x.fill(random);
    TestMatrix out(DType::kF32, 3, 57);
    TestMatrix expected(DType::kF32, 3, 57);
    set->matmul(x.cview(), packed.matrix, nullptr, out.view());
    reference->matmul(x.cview(), expected_packed.matrix, nullptr, expected.view());
    EXPECT_LE(relative_error(out, expected), 1e-5);
  }
}

// What the loader relies on to pack large tensors a range at a time.
TEST_P(MatmulTest, RangesOf64RowsPackedOneAfterTheOtherAreTheWhole) {
  if (GetParam().name.starts_with("cuda")) GTEST_SKIP() << "devices pack elsewhere";
  const auto set = make_set(GetParam().name, GetParam().compute);
  std::mt19937 random(5);
  const int64_t n = 150, k = 33;
  for (const DType file : {DType::kF32, DType::kBF16}) {
    const FileWeights weights(random, file, n, k);
    const WeightRows all = weights.rows();
    const DType stored = set->stored_dtype(file);
    const Packed whole(*set, std::span(&all, 1), stored);
    const size_t bytes = set->packed_bytes(n, k, stored);
    std::vector<std::byte> ranges(bytes, std::byte{0xee});
    for (int64_t first = 0; first < n; first += 64) {
      const auto* data = static_cast<const std::byte*>(all.data) + first * k * static_cast<int64_t>(dtype_bytes(file));
      const WeightRows range{data, file, std::min<int64_t>(64, n - first), k};
      set->pack_matrix(std::span(&range, 1), stored, ranges.data() + set->packed_bytes(first, k, stored));
    }
    EXPECT_EQ(std::memcmp(ranges.data(), whole.matrix.data, bytes), 0);
  }
}

TEST_P(MatmulTest, NoRowsIsNoWork) {
  const auto set = make_set(GetParam().name, GetParam().compute);
  std::mt19937 random(3);
  const FileWeights weights(random, DType::kF32, 33, 8);
  const WeightRows part = weights.rows();
  const Packed packed(*set, std::span(&part, 1), set->stored_dtype(DType::kF32));
  TestMatrix x(set->act_dtype(), 0, 8);
  TestMatrix out(DType::kF32, 0, 33);
  set->matmul(x.cview(), packed.matrix, nullptr, out.view());
  EXPECT_TRUE(out.padding_intact());
}

TEST_P(MatmulTest, MoreRowsThanScratchTakeSeveralPassesWithTheSameResult) {
  const auto set = make_set(GetParam().name, GetParam().compute);
  std::mt19937 random(4);
  const int64_t k = 40000;  // 14 x 65536 floats of scratch hold 22 such rows
  const FileWeights weights(random, DType::kBF16, 5, k);
  const WeightRows part = weights.rows();
  const Packed packed(*set, std::span(&part, 1), DType::kBF16);
  TestMatrix x(set->act_dtype(), 50, k, 0);
  x.fill(random);
  TestMatrix out(DType::kF32, 50, 5);
  set->matmul(x.cview(), packed.matrix, nullptr, out.view());
  for (int64_t t = 0; t < 50; ++t) {
    TestMatrix one(DType::kF32, 1, 5);
    ConstMatrixView row = x.cview();
    row.data = static_cast<const std::byte*>(row.data) +
               t * row.stride * static_cast<int64_t>(dtype_bytes(row.dtype));
    row.rows = 1;
    set->matmul(row, packed.matrix, nullptr, one.view());
    ASSERT_EQ(one.row_bytes(0), out.row_bytes(t)) << t;
  }
}

INSTANTIATE_TEST_SUITE_P(Cpu, MatmulTest, testing::ValuesIn(tested_cases()), case_name);

class ExpertTest : public testing::TestWithParam<SetCase> {};

struct Groups {
  std::vector<std::vector<int32_t>> in_rows;
  std::vector<std::vector<int32_t>> out_rows;
};

// Distributes `rows` output rows over experts with the given counts; input rows are drawn at
// random.
Groups make_groups(std::mt19937& random, const std::vector<int>& counts, int64_t inputs) {
  Groups groups;
  int64_t total = 0;
  for (const int count : counts) total += count;
  std::vector<int32_t> order(static_cast<size_t>(total));
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int32_t>(i);
  std::shuffle(order.begin(), order.end(), random);
  auto next = order.begin();
  for (const int count : counts) {
    groups.out_rows.emplace_back(next, next + count);
    next += count;
    auto& in = groups.in_rows.emplace_back();
    for (int i = 0; i < count; ++i)
      in.push_back(static_cast<int32_t>(random() % static_cast<uint64_t>(inputs)));
  }
  return groups;
}

std::vector<ExpertGroup> bind_groups(const Groups& groups,
                                     const std::vector<std::unique_ptr<TestExpert>>& experts) {
  std::vector<ExpertGroup> bound;
  for (size_t e = 0; e < experts.size(); ++e) {
    bound.push_back({&experts[e]->weights, groups.in_rows[e], groups.out_rows[e]});
  }
  return bound;
}

TEST_P(ExpertTest, MatchesReferenceWithEmptyAndCrowdedExperts) {
  const ComputeType compute = GetParam().compute;
  const auto set = make_set(GetParam().name, compute);
  const auto reference = make_reference_kernels(compute);
  std::mt19937 random(5);
  const std::vector<std::vector<int>> distributions = {
      {1, 0, 0, 0}, {0, 37, 0, 0}, {1, 1, 1, 1}, {0, 0, 0, 0}, {5, 0, 17, 2}, {14, 15, 3, 29}};
  for (const DType file : {DType::kF32, DType::kF16, DType::kBF16}) {
    for (const auto& [hidden, width] : {std::pair{32, 16}, {24, 7}, {65, 33}, {96, 40}, {7, 1}}) {
      std::vector<std::unique_ptr<TestExpert>> experts, expected_experts;
      for (int e = 0; e < 4; ++e) {
        const FileWeights gate(random, file, width, hidden), up(random, file, width, hidden),
            down(random, file, hidden, width);
        experts.push_back(std::make_unique<TestExpert>(*set, gate, up, down));
        expected_experts.push_back(std::make_unique<TestExpert>(*reference, gate, up, down));
      }
      for (const std::vector<int>& counts : distributions) {
        const Groups groups = make_groups(random, counts, 11);
        int64_t total = 0;
        for (const int count : counts) total += count;
        TestMatrix input(set->act_dtype(), 11, hidden);
        input.fill(random, 2.0f);
        TestMatrix out(set->act_dtype(), total, hidden);
        TestMatrix expected(set->act_dtype(), total, hidden);
        set->expert_ffn(bind_groups(groups, experts), input.cview(), out.view());
        reference->expert_ffn(bind_groups(groups, expected_experts), input.cview(),
                              expected.view());
        ASSERT_LE(relative_error(out, expected), tolerance(compute))
            << dtype_name(file) << " " << hidden << "x" << width;
        ASSERT_TRUE(out.padding_intact());
      }
    }
  }
}

TEST_P(ExpertTest, ARowsResultDoesNotDependOnTheBatch) {
  const auto set = make_set(GetParam().name, GetParam().compute, 3);
  std::mt19937 random(6);
  std::vector<std::unique_ptr<TestExpert>> experts;
  experts.push_back(std::make_unique<TestExpert>(random, *set, DType::kBF16, 72, 50));
  TestMatrix input(set->act_dtype(), 45, 72);
  input.fill(random);
  Groups all = make_groups(random, {45}, 45);
  TestMatrix out(set->act_dtype(), 45, 72);
  set->expert_ffn(bind_groups(all, experts), input.cview(), out.view());
  for (size_t i = 0; i < 45; ++i) {
    Groups one{{{all.in_rows[0][i]}}, {{0}}};
    TestMatrix alone(set->act_dtype(), 1, 72);
    set->expert_ffn(bind_groups(one, experts), input.cview(), alone.view());
    ASSERT_EQ(alone.row_bytes(0), out.row_bytes(all.out_rows[0][i])) << i;
  }
}

TEST_P(ExpertTest, MoreRowsThanScratchTakeSeveralPassesWithTheSameResult) {
  const auto set = make_set(GetParam().name, GetParam().compute);
  std::mt19937 random(7);
  const int64_t hidden = 30000;
  std::vector<std::unique_ptr<TestExpert>> experts;
  for (int e = 0; e < 3; ++e)
    experts.push_back(std::make_unique<TestExpert>(random, *set, DType::kBF16, hidden, 3));
  TestMatrix input(set->act_dtype(), 4, hidden, 0);
  input.fill(random);
  const Groups groups = make_groups(random, {20, 1, 40}, 4);
  TestMatrix out(set->act_dtype(), 61, hidden, 0);
  set->expert_ffn(bind_groups(groups, experts), input.cview(), out.view());
  for (size_t e = 0; e < 3; ++e) {
    for (size_t i = 0; i < groups.in_rows[e].size(); ++i) {
      const std::vector<int32_t> in{groups.in_rows[e][i]}, to{0};
      const ExpertGroup group{&experts[e]->weights, in, to};
      TestMatrix alone(set->act_dtype(), 1, hidden, 0);
      set->expert_ffn(std::span(&group, 1), input.cview(), alone.view());
      ASSERT_EQ(alone.row_bytes(0), out.row_bytes(groups.out_rows[e][i]));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cpu, ExpertTest, testing::ValuesIn(tested_cases()), case_name);

TEST(ComputeTypes, Bfloat16RoundsMatrixWeightsAndFloat32DoesNot) {
  const float weight = 1.0f + 0x1p-12f;
  const WeightRows part{&weight, DType::kF32, 1, 1};
  for (const std::string& name : available_cpu_kernel_sets()) {
    float results[2];
    int at = 0;
    for (const ComputeType compute : {ComputeType::kF32, ComputeType::kBF16}) {
      const auto set = make_set(name, compute);
      const Packed packed(*set, std::span(&part, 1), set->stored_dtype(DType::kF32));
      TestMatrix x(set->act_dtype(), 1, 1);
      x.set(0, 0, 1.0f);
      TestMatrix out(DType::kF32, 1, 1);
      set->matmul(x.cview(), packed.matrix, nullptr, out.view());
      results[at++] = out.at(0, 0);
    }
    EXPECT_EQ(results[0], weight) << name;
    EXPECT_EQ(results[1], 1.0f) << name;
  }
}

}  // namespace
}  // namespace conclave::kernels
