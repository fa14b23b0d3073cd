// A sequence that changes its home: its K/V goes along and its logits stay the same bits; and the
// counts its home is chosen by are those of its routing.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <set>

#include "expert_placement/table/placement_table.h"
#include "tests/worker/sequence_driver.h"
#include "tests/worker/test_kernel_sets.h"

namespace conclave::worker {
namespace {

constexpr int kRanks = 3;
constexpr size_t kPrompt = 37;
constexpr size_t kTokens = 50;

std::vector<int32_t> some_tokens() {
  std::mt19937 random(3);
  std::vector<int32_t> tokens(kTokens);
  for (int32_t& token : tokens) token = static_cast<int32_t>(random() % 512);
  return tokens;
}

std::unique_ptr<ExecutorGroup> make_group(const std::string& kernel_set,
                                          const std::string& placement_json = "") {
  GroupOptions options;
  options.model = std::string(CONCLAVE_SOURCE_DIR) + "/tests/golden/models/olmoe";
  options.kernel_set = kernel_set;
  options.compute = ComputeType::kBF16;
  options.ranks = kRanks;
  options.placement_json = placement_json;
  auto group = ExecutorGroup::create(options);
  EXPECT_TRUE(group.ok()) << group.status();
  return group.ok() ? *std::move(group) : nullptr;
}

// A prompt, then token by token; every four tokens to another rank and other blocks if `moving`.
std::vector<float> run(ExecutorGroup& group, bool moving) {
  const std::vector<int32_t> tokens = some_tokens();
  std::vector<float> logits;
  std::vector<int32_t> blocks = consecutive_blocks(0, kTokens);
  int32_t home = 0;
  for (size_t done = 0; done < kTokens;) {
    const size_t count = done == 0 ? kPrompt : 1;
    protocol::StepPlan plan;
    plan.step = static_cast<int64_t>(done);
    if (moving && done > 0 && (done - kPrompt) % 4 == 0) {
      protocol::KvMove move{home, (home + 1) % kRanks, blocks, {}};
      for (const int32_t block : blocks) move.to_blocks.push_back((block + 7) % 60);
      blocks = move.to_blocks;
      home = move.to_rank;
      plan.kv_moves.push_back(move);
    }
    plan.chunks.push_back(
        make_chunk(1, std::span(tokens).subspan(done, count), static_cast<int32_t>(done), blocks));
    plan.chunks[0].home_rank = home;
    plan.chunks[0].want_logits = true;
    const auto result = group.run(plan);
    EXPECT_TRUE(result.ok()) << result.status();
    if (!result.ok()) return logits;
    logits.insert(logits.end(), result->sequences[0].logits.begin(),
                  result->sequences[0].logits.end());
    done += count;
  }
  return logits;
}

TEST(HomesTest, ASequenceThatMovesGivesTheSameBits) {
  for (const std::string& kernel_set : host_kernel_sets()) {
    SCOPED_TRACE(kernel_set);
    const auto still = make_group(kernel_set);
    const auto group = make_group(kernel_set);
    ASSERT_TRUE(still != nullptr && group != nullptr);
    const std::vector<float> expected = run(*still, false);
    const std::vector<float> moved = run(*group, true);
    ASSERT_EQ(moved.size(), kTokens * 512);
    ASSERT_EQ(moved.size(), expected.size());
    EXPECT_EQ(std::memcmp(moved.data(), expected.data(), moved.size() * sizeof(float)), 0);
  }
}

TEST(HomesTest, RankHitsCountRowsThatFindAnExpertOnARank) {
  const auto description = model::read_model_description(std::string(CONCLAVE_SOURCE_DIR) +
                                                         "/tests/golden/models/olmoe");
  ASSERT_TRUE(description.ok());
  auto table = placement::PlacementTable::random(description->spec.moe_layers(),
                                                 description->spec.experts, kRanks, 4);
  std::vector<std::vector<int32_t>> replicated;
  for (int32_t e = 0; e < table.experts(); ++e) {
    const auto where = table.holders(0, e);
    replicated.emplace_back(where.begin(), where.end());
  }
  replicated[0] = {0, 2};
  table = table.with_layer(0, replicated);
  const auto group = make_group("reference", table.to_json());
  ASSERT_NE(group, nullptr);
  protocol::StepPlan plan;
  const std::vector<int32_t> tokens = some_tokens();
  plan.chunks.push_back(
      make_chunk(1, std::span(tokens).first(kPrompt), 0, consecutive_blocks(0, kPrompt)));
  plan.chunks[0].want_routing = true;
  plan.chunks[0].want_rank_hits = true;
  const auto result = group->run(plan);
  ASSERT_TRUE(result.ok()) << result.status();
  const std::vector<int32_t>& routing = result->sequences[0].routing;
  const auto k = static_cast<size_t>(group->spec().top_k);
  std::vector<int32_t> expected(kRanks, 0);
  for (size_t row = 0; row * k < routing.size(); ++row) {
    const auto layer = static_cast<int32_t>(row / kPrompt);
    std::set<int32_t> ranks;
    for (size_t i = row * k; i < (row + 1) * k; ++i) {
      for (const int32_t rank : table.holders(layer, routing[i])) ranks.insert(rank);
    }
    for (const int32_t rank : ranks) ++expected[static_cast<size_t>(rank)];
  }
  EXPECT_EQ(result->sequences[0].rank_hits, expected);
}

TEST(HomesTest, MovesOfBlocksThatDoNotExistAreErrors) {
  const auto group = make_group("reference");
  ASSERT_NE(group, nullptr);
  protocol::StepPlan plan;
  plan.kv_moves = {{0, 1, {9999}, {9999}}};
  EXPECT_TRUE(absl::IsInvalidArgument(group->rank(0).run(plan)));
  plan.kv_moves = {{0, 7, {1}, {1}}};
  EXPECT_TRUE(absl::IsInvalidArgument(group->rank(0).run(plan)));
  plan.kv_moves = {{0, 1, {1, 2}, {1}}};
  EXPECT_TRUE(absl::IsInvalidArgument(group->rank(0).run(plan)));
}

}  // namespace
}  // namespace conclave::worker
