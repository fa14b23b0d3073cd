// Law 1 for the ops besides attention: a row's bits do not depend on the other rows, their number
// or order, or the threads.

#include <algorithm>

#include "tests/kernels/kernel_fixture.h"

namespace conclave::kernels {
namespace {

class BatchInvarianceTest : public testing::TestWithParam<SetCase> {};

TEST_P(BatchInvarianceTest, MatmulRowsAloneEqualRowsInAnyBatch) {
  const auto set = make_set(GetParam().name, GetParam().compute, 2);
  std::mt19937 random(31);
  for (const DType file : {DType::kF32, DType::kF16, DType::kBF16}) {
    const int64_t n = 139;
    const int64_t k = 257;
    const FileWeights weights(random, file, n, k);
    const WeightRows part = weights.rows();
    const Packed packed(*set, std::span(&part, 1), set->stored_dtype(file));
    TestMatrix x(set->act_dtype(), 256, k);
    x.fill(random);
    std::vector<std::vector<std::byte>> alone;
    for (int64_t t = 0; t < 256; ++t) {
      ConstMatrixView one = x.cview();
      one.data = static_cast<const std::byte*>(one.data) +
                 t * one.stride * static_cast<int64_t>(dtype_bytes(one.dtype));
      one.rows = 1;
      TestMatrix out(DType::kF32, 1, n);
      set->matmul(one, packed.matrix, nullptr, out.view());
      alone.push_back(out.row_bytes(0));
    }
    for (const int64_t rows : {2, 3, 4, 5, 7, 8, 13, 14, 15, 16, 29, 32, 100, 256}) {
      std::vector<int64_t> order(256);
      for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int64_t>(i);
      std::shuffle(order.begin(), order.end(), random);
      TestMatrix shuffled(set->act_dtype(), rows, k, 0);
      for (int64_t t = 0; t < rows; ++t) {
        for (int64_t c = 0; c < k; ++c) shuffled.set(t, c, x.at(order[static_cast<size_t>(t)], c));
      }
      TestMatrix out(DType::kF32, rows, n);
      set->matmul(shuffled.cview(), packed.matrix, nullptr, out.view());
      for (int64_t t = 0; t < rows; ++t) {
        ASSERT_EQ(out.row_bytes(t), alone[static_cast<size_t>(order[static_cast<size_t>(t)])])
            << rows << " rows, row " << t;
      }
    }
  }
}

TEST_P(BatchInvarianceTest, ThreadsDoNotMatterForProductsAndNorms) {
  std::mt19937 random(32);
  const FileWeights weights(random, DType::kBF16, 333, 128);
  const WeightRows part = weights.rows();
  TestMatrix input(DType::kF32, 37, 128);
  input.fill(random);
  const std::vector<float> ones(128, 1.0f);
  std::vector<std::vector<std::byte>> expected;
  for (const int threads : {1, 2, 3}) {
    const auto set = make_set(GetParam().name, GetParam().compute, threads);
    const Packed packed(*set, std::span(&part, 1), DType::kBF16);
    TestMatrix x(set->act_dtype(), 37, 128);
    set->rms_norm(input.cview(), ones.data(), 1e-6f, x.view());
    TestMatrix out(DType::kF32, 37, 333);
    set->matmul(x.cview(), packed.matrix, nullptr, out.view());
    for (int64_t t = 0; t < 37; ++t) {
      if (threads == 1) {
        expected.push_back(out.row_bytes(t));
      } else {
        ASSERT_EQ(out.row_bytes(t), expected[static_cast<size_t>(t)])
            << threads << " threads, row " << t;
      }
    }
  }
}

TEST_P(BatchInvarianceTest, AnExpertsRowsDoNotDependOnOtherExpertsOrThreads) {
  std::mt19937 random(33);
  std::vector<FileWeights> parts;
  for (int e = 0; e < 9; ++e) {
    parts.emplace_back(random, DType::kBF16, e % 3 == 2 ? 48 : 24, e % 3 == 2 ? 24 : 48);
  }
  std::vector<std::vector<std::byte>> expected;
  for (const int threads : {1, 2, 3}) {
    const auto set = make_set(GetParam().name, GetParam().compute, threads);
    TestMatrix x(set->act_dtype(), 10, 48);
    std::mt19937 same(34);
    x.fill(same);
    std::vector<std::unique_ptr<TestExpert>> experts;
    for (size_t e = 0; e < 3; ++e)
      experts.push_back(
          std::make_unique<TestExpert>(*set, parts[3 * e], parts[3 * e + 1], parts[3 * e + 2]));
    const std::vector<int32_t> in[3] = {
        {0, 3, 5, 9, 2, 2}, {1}, {4, 6, 7, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1}};
    std::vector<int32_t> to[3];
    int32_t row = 0;
    std::vector<ExpertGroup> groups;
    for (size_t e = 0; e < 3; ++e) {
      for (size_t i = 0; i < in[e].size(); ++i) to[e].push_back(row++);
      groups.push_back({&experts[e]->weights, in[e], to[e]});
    }
    TestMatrix out(set->act_dtype(), row, 48);
    set->expert_ffn(groups, x.cview(), out.view());
    std::vector<std::vector<std::byte>> results;
    for (int64_t r = 0; r < row; ++r) results.push_back(out.row_bytes(r));
    if (threads == 1) expected = results;
    ASSERT_EQ(results, expected) << threads;
    // Each expert in a call of its own.
    for (size_t e = 0; e < 3; ++e) {
      TestMatrix alone(set->act_dtype(), row, 48);
      set->expert_ffn(std::span(&groups[e], 1), x.cview(), alone.view());
      for (const int32_t r : to[e]) ASSERT_EQ(alone.row_bytes(r), expected[static_cast<size_t>(r)]);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, BatchInvarianceTest, testing::ValuesIn(all_cases()), case_name);

TEST(SetAgreement, Avx2AndAvx512ProductsAreTheSameBits) {
  const std::vector<std::string> names = available_cpu_kernel_sets();
  if (std::find(names.begin(), names.end(), "cpu-avx512") == names.end())
    GTEST_SKIP() << "no AVX-512 here";
  std::mt19937 random(35);
  const FileWeights weights(random, DType::kBF16, 100, 300);
  const WeightRows part = weights.rows();
  TestMatrix x(DType::kBF16, 17, 300);
  x.fill(random);
  std::vector<TestMatrix> results;
  for (const char* name : {"cpu-avx2", "cpu-avx512"}) {
    const auto set = make_set(name, ComputeType::kBF16);
    const Packed packed(*set, std::span(&part, 1), DType::kBF16);
    set->matmul(x.cview(), packed.matrix, nullptr,
                results.emplace_back(DType::kF32, 17, 100).view());
  }
  for (int64_t t = 0; t < 17; ++t) EXPECT_EQ(results[0].row_bytes(t), results[1].row_bytes(t));
}

}  // namespace
}  // namespace conclave::kernels
