// K/V sizing, dummy numbers, fault texts and loading with placements.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "comm/local/local_communicator.h"
#include "expert_placement/table/placement_table.h"
#include "tests/worker/sequence_driver.h"
#include "tests/worker/test_kernel_sets.h"
#include "worker/dummy_values.h"
#include "worker/fault_injection.h"
#include "worker/kv_cache.h"

namespace conclave::worker {
namespace {

using testing::HasSubstr;

TEST(KvCacheTest, TakesAsManyBlocksAsTheMemoryHolds) {
  auto cache = KvCache::create({{100, 100}, 0, 128 * 2 * 10 + 5});
  ASSERT_TRUE(cache.ok()) << cache.status();
  EXPECT_EQ(cache->blocks(), 10);
  EXPECT_EQ(cache->layer(0).block_stride_bytes, 128);
  EXPECT_EQ(cache->layer(1).data - cache->layer(0).data, 128 * 10);
}

TEST(KvCacheTest, AGivenNumberOfBlocksAndTheUpperLimitCount) {
  EXPECT_EQ(KvCache::create({{64}, 7, 0})->blocks(), 7);
  EXPECT_EQ(KvCache::create({{64}, 0, 1 << 20, 3})->blocks(), 3);
}

TEST(KvCacheTest, MemoryForNoBlockIsAnError) {
  const auto cache = KvCache::create({{1000}, 0, 999});
  EXPECT_TRUE(absl::IsInvalidArgument(cache.status()));
  EXPECT_THAT(std::string(cache.status().message()), HasSubstr("holds no block"));
}

TEST(DummyValuesTest, AreAFunctionOfSeedAndIndexWithTheWantedSpread) {
  constexpr size_t kCount = 10001;
  std::vector<float> all(kCount);
  std::vector<float> start(17);
  std::vector<float> other(kCount);
  fill_dummy_values(5, 0.5f, DType::kF32, kCount, reinterpret_cast<std::byte*>(all.data()));
  fill_dummy_values(5, 0.5f, DType::kF32, start.size(), reinterpret_cast<std::byte*>(start.data()));
  fill_dummy_values(6, 0.5f, DType::kF32, kCount, reinterpret_cast<std::byte*>(other.data()));
  EXPECT_TRUE(std::equal(start.begin(), start.end(), all.begin()));
  EXPECT_NE(all, other);
  double sum = 0;
  double squares = 0;
  for (const float value : all) {
    ASSERT_LE(std::fabs(value), 0.5f);
    sum += value;
    squares += static_cast<double>(value) * value;
  }
  EXPECT_NEAR(sum / kCount, 0, 0.01);
  EXPECT_NEAR(squares / kCount, 0.25 / 3, 0.005);
}

TEST(DummyValuesTest, HalfTypesHoldTheSameNumbersRounded) {
  std::vector<float> exact(64);
  std::vector<uint16_t> halves(64);
  std::vector<uint16_t> brains(64);
  fill_dummy_values(9, 1, DType::kF32, 64, reinterpret_cast<std::byte*>(exact.data()));
  fill_dummy_values(9, 1, DType::kF16, 64, reinterpret_cast<std::byte*>(halves.data()));
  fill_dummy_values(9, 1, DType::kBF16, 64, reinterpret_cast<std::byte*>(brains.data()));
  for (size_t i = 0; i < exact.size(); ++i) {
    EXPECT_NEAR(f16_to_float(halves[i]), exact[i], 1e-3);
    EXPECT_EQ(bf16_to_float(bf16{brains[i]}), round_to_bf16(exact[i]));
  }
}

TEST(FaultInjectionTest, ParsesKindsAndKeys) {
  auto fault = parse_fault("hang:rank=1,step=5,layer=3");
  ASSERT_TRUE(fault.ok()) << fault.status();
  EXPECT_EQ(fault->kind, FaultInjection::Kind::kHang);
  EXPECT_EQ(fault->rank, 1);
  EXPECT_EQ(fault->step, 5);
  EXPECT_EQ(fault->layer, 3);
  EXPECT_EQ(parse_fault("")->kind, FaultInjection::Kind::kNone);
  EXPECT_NEAR(parse_fault("slow:rank=0,ms=20")->seconds, 0.02, 1e-9);
  for (const char* bad : {"sulk:rank=1", "hang", "hang:step=1", "hang:rank", "hang:rank=x", "hang:rank=1,foo=2"}) {
    EXPECT_FALSE(parse_fault(bad).ok()) << bad;
  }
}

TEST(FaultInjectionTest, StrikesWhereItWasTold) {
  const FaultInjection fault = *parse_fault("error:rank=1,step=5,layer=3");
  EXPECT_FALSE(fault.strike(1, 5, 3).ok());
  EXPECT_TRUE(fault.strike(0, 5, 3).ok());
  EXPECT_TRUE(fault.strike(1, 4, 3).ok());
  EXPECT_TRUE(fault.strike(1, 5, 2).ok());
  EXPECT_FALSE(parse_fault("error:rank=1")->strike(1, 77, 0).ok());
}

GroupOptions mixtral(int ranks) {
  GroupOptions options;
  options.model = std::string(CONCLAVE_SOURCE_DIR) + "/tests/golden/models/mixtral";
  options.ranks = ranks;
  return options;
}

TEST(RankTest, HoldsTheExpertsOfItsPlacementOnly) {
  GroupOptions options = mixtral(2);
  const auto description = model::read_model_description(options.model);
  ASSERT_TRUE(description.ok());
  const auto table = placement::PlacementTable::random(description->spec.moe_layers(),
                                                       description->spec.experts, 2, 11);
  options.placement_json = table.to_json();
  auto group = ExecutorGroup::create(options);
  ASSERT_TRUE(group.ok()) << group.status();
  for (int32_t layer = 0; layer < table.layers(); ++layer) {
    for (int32_t expert = 0; expert < table.experts(); ++expert) {
      for (int rank = 0; rank < 2; ++rank) {
        const bool here = table.holders(layer, expert)[0] == rank;
        EXPECT_EQ((*group)->rank(rank).experts().placed(layer, expert), here);
        EXPECT_EQ((*group)->rank(rank).experts().resident(layer, expert), here);
      }
    }
  }
}

TEST(RankTest, APlacementForAnotherGroupSizeIsAnError) {
  GroupOptions options = mixtral(2);
  const auto description = model::read_model_description(options.model);
  ASSERT_TRUE(description.ok());
  options.placement_json = placement::PlacementTable::contiguous(description->spec.moe_layers(),
                                                                 description->spec.experts, 3)
                               .to_json();
  EXPECT_TRUE(absl::IsInvalidArgument(ExecutorGroup::create(options).status()));
}

TEST(RankTest, LoadingReportsProgressUpToTheTotalAndStopsOnItsError) {
  auto communicators = comm::make_local_communicators(1);
  StepProgress progress;
  protocol::Configure configure;
  configure.model_path = mixtral(1).model;
  configure.kv_blocks = 4;
  configure.max_step_tokens = 8;
  configure.max_model_len = 32;
  configure.compute = ComputeType::kF32;
  Rank::Environment environment;
  environment.communicator = communicators[0].get();
  environment.progress = &progress;
  std::vector<uint64_t> done;
  uint64_t total = 0;
  environment.load_progress = [&](uint64_t bytes, uint64_t of) {
    done.push_back(bytes);
    total = of;
    return absl::OkStatus();
  };
  TestKernelSets sets;
  auto rank = Rank::create(configure, *sets.make("reference", ComputeType::kF32, 1, -1), environment);
  ASSERT_TRUE(rank.ok()) << rank.status();
  EXPECT_TRUE(std::is_sorted(done.begin(), done.end()));
  EXPECT_EQ(done.back(), total);
  environment.load_progress = [](uint64_t, uint64_t) { return absl::CancelledError("enough"); };
  rank = Rank::create(configure, *sets.make("reference", ComputeType::kF32, 1, -1), environment);
  EXPECT_TRUE(absl::IsCancelled(rank.status()));
}

TEST(RankTest, ADummyShapeRunsWithSaneNumbers) {
  auto communicators = comm::make_local_communicators(1);
  StepProgress progress;
  protocol::Configure configure;
  configure.dummy_shape_json = R"({"model_type": "olmoe", "vocab_size": 128, "hidden_size": 64,
      "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4,
      "num_key_value_heads": 4, "num_experts": 8, "num_experts_per_tok": 2,
      "max_position_embeddings": 64, "torch_dtype": "bfloat16"})";
  configure.kv_blocks = 4;
  configure.max_step_tokens = 8;
  configure.max_model_len = 64;
  Rank::Environment environment;
  environment.communicator = communicators[0].get();
  environment.progress = &progress;
  TestKernelSets sets;
  auto rank = Rank::create(configure, *sets.make("reference", ComputeType::kBF16, 1, -1), environment);
  ASSERT_TRUE(rank.ok()) << rank.status();
  protocol::StepPlan plan;
  const int32_t tokens[] = {1, 2, 3};
  plan.chunks.push_back(make_chunk(1, tokens, 0, {0}));
  plan.chunks[0].want_logits = true;
  ASSERT_TRUE((*rank)->run(plan).ok());
  protocol::StepResult result;
  (*rank)->append_result(plan, &result);
  ASSERT_EQ(result.sequences[0].logits.size(), 3u * 128);
  double squares = 0;
  for (const float logit : result.sequences[0].logits) squares += static_cast<double>(logit) * logit;
  EXPECT_NEAR(squares / (3 * 128), 1, 0.5);
}

}  // namespace
}  // namespace conclave::worker
