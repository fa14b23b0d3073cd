#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "protocol/messages.h"
#include "protocol/step_plan.h"

namespace conclave::protocol {
namespace {

StepPlan random_plan(std::mt19937& random) {
  const auto number = [&](int limit) { return static_cast<int32_t>(random() % static_cast<uint32_t>(limit)); };
  StepPlan plan;
  plan.step = number(1000);
  plan.placement_epoch = number(5);
  plan.deadline_ms = number(10000);
  plan.sleep = number(2) != 0;
  plan.report_routing = number(2) != 0;
  plan.may_be_followed = number(2) != 0;
  plan.record_routing = number(2) != 0;
  plan.shared_kv = number(2) != 0;
  for (int i = number(3); i > 0; --i) plan.kv_moves.push_back({number(3), number(3), {number(9)}, {1}});
  if (number(2)) {
    PlacementUpdate update{number(50), {}};
    for (int i = number(3); i > 0; --i) update.layers.push_back({number(9), {{0}, {1, 2}, {number(4)}}});
    plan.prepare = update;
  }
  plan.chunks.resize(static_cast<size_t>(number(5)));
  for (SequenceChunk& chunk : plan.chunks) {
    chunk.sequence_id = random();
    chunk.home_rank = number(4);
    chunk.start_position = number(100);
    for (int i = number(6); i >= 0; --i) chunk.tokens.push_back(number(9000) - 1);
    for (int i = number(6); i >= 0; --i) chunk.block_ids.push_back(number(500));
    chunk.want_logits = number(2) != 0;
    chunk.want_routing = number(2) != 0;
    chunk.coherent = number(2) != 0;
    chunk.prompt_top_logprobs = number(5) - 1;
    if (number(2)) chunk.prompt_targets.assign(chunk.tokens.size(), 3);
    chunk.sample = number(2) != 0;
    if (!chunk.sample) continue;
    chunk.sampling.temperature = 0.25f * static_cast<float>(number(8));
    chunk.sampling.seed = (uint64_t{random()} << 32) | random();
    chunk.sampling.position = random();
    chunk.sampling.top_logprobs = number(20);
    for (int i = number(3); i > 0; --i) chunk.sampling.counts.push_back({number(100), number(9), number(2) != 0});
    for (int i = number(3); i > 0; --i) chunk.sampling.bias.push_back({number(100), -INFINITY});
  }
  return plan;
}

TEST(StepPlan, EncodingIsStableUnderDecoding) {
  std::mt19937 random(7);
  for (int i = 0; i < 200; ++i) {
    const StepPlan plan = random_plan(random);
    const std::vector<std::byte> bytes = encode(plan);
    const auto decoded = decode_step_plan(bytes);
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    EXPECT_EQ(decoded->chunks.size(), plan.chunks.size());
    EXPECT_EQ(encode(*decoded), bytes);
  }
}

TEST(StepPlan, TruncatedOrExtendedBytesAreRefused) {
  std::mt19937 random(8);
  for (int i = 0; i < 20; ++i) {
    std::vector<std::byte> bytes = encode(random_plan(random));
    for (size_t cut = 0; cut < bytes.size(); ++cut) {
      EXPECT_FALSE(decode_step_plan(std::span(bytes).first(cut)).ok());
    }
    bytes.push_back(std::byte{0});
    EXPECT_FALSE(decode_step_plan(bytes).ok());
  }
}

TEST(StepPlan, FlippedBytesNeverReadOutside) {
  std::mt19937 random(9);
  for (int i = 0; i < 2000; ++i) {
    std::vector<std::byte> bytes = encode(random_plan(random));
    for (int flips = 0; flips < 3; ++flips) {
      bytes[random() % bytes.size()] ^= static_cast<std::byte>(1u << (random() % 8));
    }
    const auto decoded = decode_step_plan(bytes);  // ASan judges; either answer is right
    if (decoded.ok()) {
      EXPECT_LE(decoded->chunks.size(), bytes.size());
    }
  }
}

TEST(StepResult, RoundTrips) {
  StepResult result;
  result.step = 9;
  SequenceResult sequence;
  sequence.sequence_id = 4;
  sequence.sampled = true;
  sequence.token = 11;
  sequence.logprob = -0.5f;
  sequence.top = {{11, -0.5f}, {3, -1.5f}};
  sequence.prompt_logprobs = {{2, {5, -3.0f}, {{5, -3.0f}}}};
  sequence.logits = {1.0f, 2.0f};
  sequence.routing = {0, 1, 2};
  sequence.rank_hits = {5, 0};
  result.sequences.push_back(sequence);
  RankTiming timing;
  timing.rank = 1;
  timing.combine_seconds = 0.25;
  timing.spans = {{"experts", 3, 0.5, 0.75}, {"head", -1, 0.75, 1.0}};
  timing.expert_rows = {4, 5};
  timing.traffic = {{TrafficPlan::kCoherent, TrafficDirection::kReturn, 7, 800}};
  result.ranks.push_back(timing);
  result.routing.push_back({3, {{1, 2}}, {{4, 1}}, {{9, 9}}, {3, 1}, {4}});
  result.rows.add({{6, 7}, {5, 2, 1, 8}});
  result.rows.add({{1}, {3, 4}});
  const auto bytes = encode(result);
  const auto decoded = decode_step_result(bytes);
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(encode(*decoded), bytes);
  EXPECT_EQ(decoded->sequences[0].prompt_logprobs[0].target.token, 5);
  EXPECT_TRUE(decoded->sequences[0].sampled && decoded->sequences[0].finite);
  result.sequences[0].finite = false;
  EXPECT_TRUE(decode_step_result(encode(result))->sequences[0].sampled);
  EXPECT_FALSE(decode_step_result(encode(result))->sequences[0].finite);
  EXPECT_EQ(decoded->ranks[0].expert_rows, (std::vector<int64_t>{4, 5}));
  EXPECT_EQ(decoded->ranks[0].combine_seconds, 0.25);
  ASSERT_EQ(decoded->ranks[0].spans.size(), 2u);
  EXPECT_EQ(decoded->ranks[0].spans[0].operation, "experts");
  EXPECT_EQ(decoded->ranks[0].spans[1].end, 1.0);
  EXPECT_EQ(decoded->ranks[0].traffic[0].bytes, 800);
  EXPECT_EQ(decoded->routing[0].pairs[0].index, 9u);
  EXPECT_EQ(decoded->rows.places, (std::vector<uint32_t>{6, 7, 1}));
  EXPECT_EQ(decoded->rows.experts, (std::vector<uint16_t>{5, 2, 1, 8, 3, 4}));
  for (size_t cut = 0; cut < bytes.size(); ++cut) {
    EXPECT_FALSE(decode_step_result(std::span(bytes).first(cut)).ok());
  }
}

TEST(Messages, RoundTrip) {
  Join join{3, 1, 2, "host-a", 4711, 2, 1u << 30, {"cpu-avx512", "reference"}};
  EXPECT_EQ(decode_join(encode(join))->kernel_sets, join.kernel_sets);
  Configure configure;
  configure.model_path = "/m";
  configure.kernel_set = "reference";
  configure.compute = ComputeType::kF32;
  configure.overlap = "on";
  configure.dummy_seed = 5;
  EXPECT_EQ(encode(*decode_configure(encode(configure))), encode(configure));
  EXPECT_EQ(decode_ready(encode(Ready{10, 20, 30, 0.5, "abc"}))->model_fingerprint, "abc");
  EXPECT_EQ(decode_prepared(encode(Prepared{7, "no room", 20, 0.5}))->error, "no room");
  EXPECT_EQ(decode_health(encode(Health{1, 2, "dispatch", 0.25}))->operation, "dispatch");
  EXPECT_EQ(decode_failure(encode(Failure{"rank 1"}))->message, "rank 1");
  EXPECT_FALSE(decode_failure(encode(Failure{"rank 1"}))->lasting);
  EXPECT_TRUE(decode_failure(encode(Failure{"rank 1", true}))->lasting);
  EXPECT_EQ(decode_load_progress(encode(LoadProgress{1, 2}))->bytes_total, 2u);
  EXPECT_FALSE(decode_join({}).ok());
  std::vector<std::byte> bytes = encode(configure);
  bytes[4 + 2 + 4 + 9] = std::byte{9};  // the compute type
  EXPECT_FALSE(decode_configure(bytes).ok());
}

}  // namespace
}  // namespace conclave::protocol
