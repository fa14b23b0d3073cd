#include <limits>

#include "tests/kernels/kernel_fixture.h"

namespace conclave::kernels {
namespace {

class RowOpsTest : public testing::TestWithParam<SetCase> {
 protected:
  void SetUp() override {
    set_ = make_set(GetParam().name, GetParam().compute);
    reference_ = make_reference_kernels(GetParam().compute);
  }
  std::unique_ptr<KernelSet> set_;
  std::unique_ptr<KernelSet> reference_;
  std::mt19937 random_{21};
};

constexpr int64_t kWidths[] = {1, 3, 16, 31, 64, 65, 200, 1024};

TEST_P(RowOpsTest, EmbedReadsEveryTypeExactlyAndClampsBadIds) {
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    for (const int64_t width : kWidths) {
      TestMatrix table(dtype, 5, width);
      table.fill(random_);
      const int32_t ids[] = {
          4, 0, 2, -1, 5, std::numeric_limits<int32_t>::max(), std::numeric_limits<int32_t>::min()};
      const int64_t rows[] = {4, 0, 2, 0, 4, 4, 0};
      TestMatrix out(DType::kF32, 7, width);
      set_->embed(ids, table.cview(), out.view());
      for (int64_t t = 0; t < 7; ++t) {
        for (int64_t c = 0; c < width; ++c) ASSERT_EQ(out.at(t, c), table.at(rows[t], c));
      }
      EXPECT_TRUE(out.padding_intact());
    }
  }
}

TEST_P(RowOpsTest, EmbedReadsAPackedTableExactlyAndClampsBadIds) {
  if (set_->name().starts_with("cuda")) GTEST_SKIP() << "the seam has no lookup in packed matrices";
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    for (const int64_t width : kWidths) {
      const FileWeights table(random_, dtype, 70, width);
      const WeightRows file = table.rows();
      const DType stored = set_->stored_dtype(dtype);
      const Packed packed(*set_, std::span(&file, 1), stored);
      const int32_t ids[] = {69, 0, 15, 16, 31, 32, 47, 48, -1, 70};
      const int64_t rows[] = {69, 0, 15, 16, 31, 32, 47, 48, 0, 69};
      TestMatrix out(DType::kF32, 10, width);
      set_->embed(ids, packed.matrix, out.view());
      for (int64_t t = 0; t < 10; ++t) {
        for (int64_t c = 0; c < width; ++c) {
          float expected = 0;  // rounded as packing rounds
          store_element(&expected, stored, 0, load_element(file.data, dtype, rows[t] * width + c));
          ASSERT_EQ(out.at(t, c), load_element(&expected, stored, 0));
        }
      }
      EXPECT_TRUE(out.padding_intact());
    }
  }
}

TEST_P(RowOpsTest, Float16SpecialValuesAreExact) {
  TestMatrix table(DType::kF16, 4, 17);
  const float values[] = {0.0f, 0x1p-24f, -0x1.8p-20f, 65504.0f};
  for (int64_t r = 0; r < 4; ++r) {
    for (int64_t c = 0; c < 17; ++c)
      table.set(r, c, c == 3 ? std::numeric_limits<float>::infinity() : values[r]);
  }
  const int32_t ids[] = {0, 1, 2, 3};
  TestMatrix out(DType::kF32, 4, 17);
  set_->embed(ids, table.cview(), out.view());
  for (int64_t r = 0; r < 4; ++r) {
    for (int64_t c = 0; c < 17; ++c)
      ASSERT_EQ(out.at(r, c), c == 3 ? std::numeric_limits<float>::infinity() : values[r]);
  }
}

TEST_P(RowOpsTest, RmsNormMatchesReference) {
  for (const int64_t width : kWidths) {
    TestMatrix x(DType::kF32, 5, width);
    x.fill(random_, 3.0f);
    std::vector<float> weight(static_cast<size_t>(width));
    for (float& w : weight) w = std::normal_distribution<float>(1.0f, 0.3f)(random_);
    TestMatrix out(set_->act_dtype(), 5, width);
    TestMatrix expected(set_->act_dtype(), 5, width);
    set_->rms_norm(x.cview(), weight.data(), 1e-5f, out.view());
    reference_->rms_norm(x.cview(), weight.data(), 1e-5f, expected.view());
    EXPECT_LE(relative_error(out, expected), GetParam().compute == ComputeType::kF32 ? 1e-6 : 3e-3)
        << width;
    EXPECT_TRUE(out.padding_intact());
  }
}

TEST_P(RowOpsTest, RoundingToActivationsIsToNearestEven) {
  if (GetParam().compute != ComputeType::kBF16)
    GTEST_SKIP() << "float32 activations are not rounded";
  // With weights 1 and x of rms 1 the norm is the identity up to its rounding; products with 1 stay
  // exact.
  TestMatrix table(DType::kF32, 1, 40);
  for (int64_t c = 0; c < 40; ++c) table.set(0, c, (c % 2 == 0 ? 1.0f : -1.0f));
  std::vector<float> weight(40);
  for (size_t c = 0; c < 40; ++c) weight[c] = 1.0f + static_cast<float>(c) * 0x1p-9f;
  weight[39] = std::nanf("");
  TestMatrix out(DType::kBF16, 1, 40);
  set_->rms_norm(table.cview(), weight.data(), 0.0f, out.view());
  for (int64_t c = 0; c < 39; ++c)
    ASSERT_EQ(out.at(0, c), round_to_bf16(table.at(0, c) * weight[static_cast<size_t>(c)])) << c;
  EXPECT_TRUE(std::isnan(out.at(0, 39)));
}

TEST_P(RowOpsTest, CombineAddsInOrderWithSharedExpertLast) {
  const DType act = set_->act_dtype();
  for (const int64_t width : kWidths) {
    TestMatrix local(act, 9, width), remote(act, 4, width), shared(act, 3, width);
    local.fill(random_);
    remote.fill(random_);
    shared.fill(random_);
    const ConstMatrixView sources[] = {local.cview(), remote.cview()};
    const int32_t source_of[] = {0, 1, 0, 1, 1, 0, 0, 0, 0, 0, 1, 0};
    const int32_t row_of[] = {8, 0, 1, 3, 2, 0, 4, 4, 5, 6, 1, 7};
    std::vector<float> weights(12);
    for (float& w : weights) w = std::normal_distribution<float>()(random_);
    const float gates[] = {0.3f, -2.0f, 90.0f};
    for (const int variant : {0, 1, 2}) {
      CombineInput input;
      input.sources = sources;
      input.source_of = source_of;
      input.row_of = row_of;
      input.weights = weights;
      input.top_k = 4;
      if (variant > 0) input.shared = shared.cview();
      if (variant > 1) input.shared_gate = gates;
      TestMatrix out(DType::kF32, 3, width), expected(DType::kF32, 3, width);
      set_->combine(input, out.view());
      reference_->combine(input, expected.view());
      EXPECT_LE(relative_error(out, expected), 1e-6) << width << " variant " << variant;
      EXPECT_TRUE(out.padding_intact());
    }
  }
}

TEST_P(RowOpsTest, AddAndGatherAreExact) {
  for (const int64_t width : kWidths) {
    TestMatrix a(DType::kF32, 6, width), r(DType::kF32, 6, width);
    a.fill(random_);
    r.fill(random_);
    const TestMatrix before = r;
    set_->add(r.view(), a.cview());
    for (int64_t t = 0; t < 6; ++t) {
      for (int64_t c = 0; c < width; ++c) ASSERT_EQ(r.at(t, c), before.at(t, c) + a.at(t, c));
    }
    const int32_t rows[] = {5, 5, 0, 3};
    TestMatrix out(DType::kF32, 4, width);
    set_->gather_rows(a.cview(), rows, out.view());
    for (int64_t i = 0; i < 4; ++i) ASSERT_EQ(out.row_bytes(i), a.row_bytes(rows[i]));
    EXPECT_TRUE(out.padding_intact() && r.padding_intact());
  }
}

TEST_P(RowOpsTest, RouteMatchesReferenceOnRandomRows) {
  for (const RouterShape& shape : {RouterShape{8, 2, true},
                                   {64, 8, false},
                                   {128, 8, true},
                                   {5, 5, false},
                                   {1, 1, true},
                                   {60, 4, false},
                                   {257, 64, true}}) {
    const int64_t rows = 500;
    TestMatrix logits(DType::kF32, rows, shape.experts);
    logits.fill(random_, 2.0f);
    const auto count = static_cast<size_t>(rows * shape.top_k);
    std::vector<int32_t> ids(count, -1), expected_ids(count, -1);
    std::vector<float> weights(count), expected_weights(count);
    set_->route(shape, logits.cview(), ids, weights);
    reference_->route(shape, logits.cview(), expected_ids, expected_weights);
    ASSERT_EQ(ids, expected_ids) << shape.experts;
    for (size_t i = 0; i < count; ++i)
      ASSERT_NEAR(weights[i], expected_weights[i], 2e-6 * expected_weights[i] + 1e-9);
  }
}

TEST_P(RowOpsTest, RouteTiesTakeTheLowestIdsInAscendingOrder) {
  TestMatrix logits(DType::kF32, 2, 9);
  for (int64_t e = 0; e < 9; ++e) {
    logits.set(0, e, 1.0f);
    logits.set(1, e, e == 7 ? 3.0f : e % 2 == 0 ? 2.0f : 0.0f);
  }
  std::vector<int32_t> ids(6);
  std::vector<float> weights(6);
  set_->route({9, 3, true}, logits.cview(), ids, weights);
  EXPECT_EQ(ids, (std::vector<int32_t>{0, 1, 2, 0, 2, 7}));
  EXPECT_FLOAT_EQ(weights[0], 1.0f / 3.0f);
  EXPECT_GT(weights[5], weights[3]);
}

TEST_P(RowOpsTest, RouteStaysInRangeForNaNAndInfiniteLogits) {
  const float inf = std::numeric_limits<float>::infinity();
  const float nan = std::nanf("");
  const float rows[][6] = {{nan, nan, nan, nan, nan, nan},       {nan, 1, 2, nan, 3, 0},
                           {-inf, -inf, -inf, -inf, -inf, -inf}, {inf, inf, 0, 0, 0, 0},
                           {0, -inf, -inf, -inf, -inf, nan},     {3e38f, -3e38f, 0, 0, 0, 0}};
  TestMatrix logits(DType::kF32, 6, 6);
  for (int64_t t = 0; t < 6; ++t) {
    for (int64_t e = 0; e < 6; ++e) logits.set(t, e, rows[t][e]);
  }
  std::vector<int32_t> ids(18, -7);
  std::vector<float> weights(18);
  set_->route({6, 3, false}, logits.cview(), ids, weights);
  for (size_t t = 0; t < 6; ++t) {
    EXPECT_GE(ids[3 * t], 0);
    EXPECT_LT(ids[3 * t], ids[3 * t + 1]);
    EXPECT_LT(ids[3 * t + 1], ids[3 * t + 2]);
    EXPECT_LT(ids[3 * t + 2], 6);
  }
  EXPECT_EQ((std::vector<int32_t>{ids[3], ids[4], ids[5]}), (std::vector<int32_t>{1, 2, 4}));
}

INSTANTIATE_TEST_SUITE_P(All, RowOpsTest, testing::ValuesIn(all_cases()), case_name);

}  // namespace
}  // namespace conclave::kernels
