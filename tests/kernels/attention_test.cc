#include "tests/kernels/attention_fixture.h"

namespace conclave::kernels {
namespace {

class AttentionTest : public testing::TestWithParam<SetCase> {
 protected:
  ComputeType compute() const { return GetParam().compute; }
};

// Lengths around the block (16) and key tile (64) borders, several sequences in one batch.
TEST_P(AttentionTest, MatchesReferenceForManyShapes) {
  const auto set = make_set(GetParam().name, compute());
  const auto reference = make_reference_kernels(compute());
  std::mt19937 random(11);
  const AttentionShape shapes[] = {
      make_shape(4, 2, 16),      make_shape(1, 1, 64),      make_shape(3, 3, 24),
      make_shape(8, 1, 128),     make_shape(10, 2, 7),      make_shape(6, 2, 80, 5),
      make_shape(4, 4, 32, 64),  make_shape(2, 1, 144, 17), make_shape(40, 1, 8),
      make_shape(7, 1, 96, 100), make_shape(2, 2, 1),       make_shape(6, 2, 64),
      make_shape(8, 2, 128, 70)};
  for (const AttentionShape& shape : shapes) {
    const RopeTable rope(shape);
    const TestSequence a(random, shape, 150, block_range(3, 10));
    const TestSequence b(random, shape, 33, {13, 2, 15});
    const TestSequence c(random, shape, 1, {0});
    const SequencePart parts[] = {{&a, 0, 150}, {&b, 0, 33}, {&c, 0, 1}};
    PagedCache cache(*set, shape, 16);
    PagedCache expected_cache(*reference, shape, 16);
    const TestMatrix out = run_attention(*set, shape, rope.parameters, parts, cache);
    const TestMatrix expected =
        run_attention(*reference, shape, rope.parameters, parts, expected_cache);
    EXPECT_LE(relative_error(out, expected), tolerance(compute()))
        << shape.heads << "/" << shape.kv_heads << " x " << shape.head_dim << " window "
        << shape.sliding_window;
  }
}

TEST_P(AttentionTest, NormsClipPartialRotationAndAttentionFactorMatchReference) {
  const auto set = make_set(GetParam().name, compute());
  const auto reference = make_reference_kernels(compute());
  std::mt19937 random(12);
  for (const QkNorm norm : {QkNorm::kPerHead, QkNorm::kFullWidth}) {
    AttentionShape shape = make_shape(6, 2, 20);
    shape.rotary_dim = 10;
    shape.qk_norm = norm;
    shape.clip = 1.5f;
    RopeTable rope(shape);
    std::vector<float> q_norm(120), k_norm(120);
    for (float& w : q_norm) w = std::normal_distribution<float>(1.0f, 0.2f)(random);
    for (float& w : k_norm) w = std::normal_distribution<float>(1.0f, 0.2f)(random);
    rope.parameters.q_norm = q_norm.data();
    rope.parameters.k_norm = k_norm.data();
    rope.parameters.attention_factor = 1.25f;
    const TestSequence sequence(random, shape, 70, block_range(0, 5));
    const SequencePart parts[] = {{&sequence, 0, 70}};
    PagedCache cache(*set, shape, 5);
    PagedCache expected_cache(*reference, shape, 5);
    const TestMatrix out = run_attention(*set, shape, rope.parameters, parts, cache);
    const TestMatrix expected =
        run_attention(*reference, shape, rope.parameters, parts, expected_cache);
    EXPECT_LE(relative_error(out, expected), tolerance(compute()));
  }
}

TEST_P(AttentionTest, RopeStaysExactAtLargePositions) {
  const auto set = make_set(GetParam().name, ComputeType::kF32);
  const auto reference = make_reference_kernels(ComputeType::kF32);
  std::mt19937 random(13);
  AttentionShape shape = make_shape(2, 1, 64);
  const RopeTable rope(shape);
  for (const int32_t position : {1, 4095, 131071, 1048575}) {
    // The table entry of this position's block is the only one that append_kv reads.
    std::vector<int32_t> ids(static_cast<size_t>(position / kKvBlockTokens + 1), 0);
    const AttentionRow row{position, 0};
    const AttentionBatch batch{std::span(&row, 1), ids};
    TestMatrix qkv(DType::kF32, 1, 256);
    qkv.fill(random);
    TestMatrix qkv_copy = qkv;
    PagedCache cache(*set, shape, 1), expected_cache(*reference, shape, 1);
    TestMatrix q(DType::kF32, 1, 128), expected(DType::kF32, 1, 128);
    set->append_kv(shape, rope.parameters, batch, qkv.view(), cache.view(), q.view());
    reference->append_kv(shape, rope.parameters, batch, qkv_copy.view(), expected_cache.view(),
                         expected.view());
    EXPECT_LE(relative_error(q, expected), 1e-6) << position;
  }
}

INSTANTIATE_TEST_SUITE_P(Cpu, AttentionTest, testing::ValuesIn(tested_cases()), case_name);

// Law 1, bit for bit, also for the reference.
class AttentionInvarianceTest : public testing::TestWithParam<SetCase> {};

TEST_P(AttentionInvarianceTest, ChunkedPrefillAndDecodeEqualWholePrefill) {
  const auto set = make_set(GetParam().name, GetParam().compute, 2);
  std::mt19937 random(14);
  for (const AttentionShape& shape :
       {make_shape(4, 2, 32), make_shape(5, 1, 24, 37), make_shape(3, 3, 48), make_shape(8, 2, 64),
        make_shape(6, 1, 128, 37), make_shape(2, 2, 128)}) {
    const RopeTable rope(shape);
    const int length = 141;
    const TestSequence sequence(random, shape, length, block_range(0, 9));
    PagedCache cache(*set, shape, 9);
    const SequencePart whole[] = {{&sequence, 0, length}};
    const TestMatrix expected = run_attention(*set, shape, rope.parameters, whole, cache);
    for (const std::vector<int>& cuts :
         {std::vector<int>{0, 64, 141}, {0, 1, 2, 17, 18, 63, 65, 66, 100, 141}, {0, 140, 141}}) {
      PagedCache chunked(*set, shape, 9);
      for (size_t i = 0; i + 1 < cuts.size(); ++i) {
        const SequencePart part[] = {{&sequence, cuts[i], cuts[i + 1]}};
        const TestMatrix out = run_attention(*set, shape, rope.parameters, part, chunked);
        for (int t = cuts[i]; t < cuts[i + 1]; ++t) {
          ASSERT_EQ(out.row_bytes(t - cuts[i]), expected.row_bytes(t))
              << "position " << t << " chunk at " << cuts[i];
        }
      }
    }
    PagedCache decoded(*set, shape, 9);
    for (int t = 0; t < length; ++t) {
      const SequencePart step[] = {{&sequence, t, t + 1}};
      const TestMatrix out = run_attention(*set, shape, rope.parameters, step, decoded);
      ASSERT_EQ(out.row_bytes(0), expected.row_bytes(t)) << "decode at " << t;
    }
  }
}

TEST_P(AttentionInvarianceTest, BlockPlacementAndOtherSequencesDoNotMatter) {
  const auto set = make_set(GetParam().name, GetParam().compute, 3);
  std::mt19937 random(15);
  const AttentionShape shape = make_shape(6, 3, 40);
  const RopeTable rope(shape);
  TestSequence sequence(random, shape, 100, block_range(0, 7));
  PagedCache cache(*set, shape, 40);
  const SequencePart alone[] = {{&sequence, 0, 100}};
  const TestMatrix expected = run_attention(*set, shape, rope.parameters, alone, cache);

  sequence.blocks = {31, 4, 17, 2, 39, 11, 0};
  const TestSequence other(random, shape, 60, {5, 6, 7, 8});
  const TestSequence third(random, shape, 20, {20, 21});
  PagedCache shared(*set, shape, 40);
  const SequencePart company[] = {{&other, 0, 60}, {&sequence, 0, 100}, {&third, 0, 20}};
  const TestMatrix out = run_attention(*set, shape, rope.parameters, company, shared);
  for (int t = 0; t < 100; ++t) ASSERT_EQ(out.row_bytes(60 + t), expected.row_bytes(t)) << t;
}

TEST_P(AttentionInvarianceTest, ThreadsDoNotMatter) {
  std::mt19937 random(16);
  const AttentionShape shape = make_shape(8, 2, 64);
  const RopeTable rope(shape);
  const TestSequence sequence(random, shape, 90, block_range(0, 6));
  const SequencePart whole[] = {{&sequence, 0, 90}};
  const auto first_set = make_set(GetParam().name, GetParam().compute, 1);
  PagedCache first_cache(*first_set, shape, 6);
  const TestMatrix expected = run_attention(*first_set, shape, rope.parameters, whole, first_cache);
  for (const int threads : {2, 3}) {
    const auto set = make_set(GetParam().name, GetParam().compute, threads);
    PagedCache cache(*set, shape, 6);
    const TestMatrix out = run_attention(*set, shape, rope.parameters, whole, cache);
    for (int t = 0; t < 90; ++t)
      ASSERT_EQ(out.row_bytes(t), expected.row_bytes(t)) << threads << " threads, row " << t;
  }
}

// Later keys and values that are NaN (a row of the same batch gone wrong) must not reach earlier
// rows.
TEST_P(AttentionInvarianceTest, MaskedKeysContributeNothingEvenIfNaN) {
  const auto set = make_set(GetParam().name, GetParam().compute, 1);
  std::mt19937 random(17);
  for (const int window : {0, 9}) {
    const AttentionShape shape = make_shape(4, 1, 32, window);
    const RopeTable rope(shape);
    TestSequence sequence(random, shape, 30, block_range(0, 2));
    PagedCache clean(*set, shape, 2);
    const SequencePart parts[] = {{&sequence, 0, 30}};
    const TestMatrix expected = run_attention(*set, shape, rope.parameters, parts, clean);
    TestSequence broken = sequence;
    const int bad = 13;
    for (int64_t c = 0; c < broken.qkv.cols(); ++c) broken.qkv.set(bad, c, std::nanf(""));
    PagedCache cache(*set, shape, 2);
    const SequencePart broken_parts[] = {{&broken, 0, 30}};
    const TestMatrix out = run_attention(*set, shape, rope.parameters, broken_parts, cache);
    for (int t = 0; t < bad; ++t) ASSERT_EQ(out.row_bytes(t), expected.row_bytes(t)) << t;
    EXPECT_TRUE(std::isnan(out.at(bad, 0)));
    for (int t = bad + window; window > 0 && t < 30; ++t)
      ASSERT_EQ(out.row_bytes(t), expected.row_bytes(t)) << t;
  }
}

INSTANTIATE_TEST_SUITE_P(All, AttentionInvarianceTest, testing::ValuesIn(all_cases()), case_name);

TEST(AttentionShapes, ImpossibleShapesAreRefusedWithASentence) {
  for (const std::string& name : {std::string("reference"), std::string("cpu-baseline")}) {
    const auto set = make_set(name, ComputeType::kF32);
    EXPECT_TRUE(set->supports(make_shape(4, 2, 64)).ok());
    EXPECT_EQ(set->supports(make_shape(4, 3, 64)).code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(set->supports(make_shape(4, 0, 64)).code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(set->supports(make_shape(4, 2, 1024)).code(), absl::StatusCode::kUnimplemented);
    AttentionShape odd = make_shape(4, 2, 64);
    odd.rotary_dim = 63;
    EXPECT_EQ(set->supports(odd).code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(set->supports(RouterShape{8, 9, false}).code(), absl::StatusCode::kInvalidArgument);
    EXPECT_TRUE(set->supports(RouterShape{8, 8, false}).ok());
  }
}

}  // namespace
}  // namespace conclave::kernels
