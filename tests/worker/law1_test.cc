// Law 1: one sequence's logits are the same bits whatever shares the batch and however the work is cut,
// spread and carried. Draws combinations from a fixed seed.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstring>
#include <map>
#include <numeric>
#include <random>

#include "expert_placement/table/placement_table.h"
#include "tests/worker/sequence_driver.h"
#include "tests/worker/test_kernel_sets.h"

namespace conclave::worker {
namespace {

constexpr int kDraws = 16;
constexpr int kOthers = 15;
constexpr size_t kTokens = 100;
constexpr size_t kDecoded = 4;  // of them one by one at the end
constexpr int32_t kVocab = 512;
constexpr int32_t kBlocks = 160;

struct Combination {
  std::string model;
  int ranks = 1;
  int threads = 1;
  bool mixed = false;
  size_t chunk = kTokens;
  int placement = -1;  // -1: contiguous
  std::string overlap = "auto";
  int32_t home = 0;
  bool preempted = false;
  uint32_t block_seed = 0;
  bool graphs = true;

  std::string text() const {
    return model + " ranks " + std::to_string(ranks) + " threads " + std::to_string(threads) +
           (mixed ? " mixed" : " alone") + " chunk " + std::to_string(chunk) + " placement " +
           std::to_string(placement) + " overlap " + overlap + " home " + std::to_string(home) +
           (preempted ? " preempted" : "") + " blocks " + std::to_string(block_seed) +
           (graphs ? "" : " without graphs");
  }
};

std::vector<int32_t> random_tokens(uint32_t seed, size_t count) {
  std::mt19937 random(seed);
  std::vector<int32_t> tokens(count);
  for (int32_t& token : tokens) token = static_cast<int32_t>(random() % kVocab);
  return tokens;
}

// The other sequences of a mixed batch: each advances by a few tokens a step and starts over at its end.
class Neighbours {
 public:
  Neighbours(int ranks, std::vector<int32_t> blocks) : blocks_(std::move(blocks)) {
    for (int i = 0; i < kOthers; ++i) {
      sequences_.push_back(
          {random_tokens(static_cast<uint32_t>(500 + i), 60), 0, static_cast<int32_t>(i % ranks)});
    }
  }
  void add_to(protocol::StepPlan* plan) {
    for (size_t i = 0; i < sequences_.size(); ++i) {
      Sequence& sequence = sequences_[i];
      const size_t count = std::min(1 + i % 5, sequence.tokens.size() - sequence.done);
      const std::vector<int32_t> own(blocks_.begin() + static_cast<int64_t>(4 * i),
                                     blocks_.begin() + static_cast<int64_t>(4 * i + 4));
      protocol::SequenceChunk chunk =
          make_chunk(100 + i, std::span(sequence.tokens).subspan(sequence.done, count),
                     static_cast<int32_t>(sequence.done), own);
      chunk.home_rank = sequence.home;
      chunk.sample = i % 2 == 0;
      chunk.sampling.temperature = 0.8f;
      plan->chunks.push_back(std::move(chunk));
      sequence.done = (sequence.done + count) % sequence.tokens.size();
    }
  }

 private:
  struct Sequence {
    std::vector<int32_t> tokens;
    size_t done;
    int32_t home;
  };
  std::vector<Sequence> sequences_;
  std::vector<int32_t> blocks_;
};

class Law1Test : public testing::TestWithParam<std::tuple<std::string, ComputeType>> {
 protected:
  absl::StatusOr<std::vector<float>> logits_of(const Combination& c) {
    GroupOptions options;
    options.model = std::string(CONCLAVE_SOURCE_DIR) + "/tests/golden/models/" + c.model;
    options.kernel_set = std::get<0>(GetParam());
    options.compute = std::get<1>(GetParam());
    options.ranks = c.ranks;
    options.threads = c.threads;
    options.overlap = c.overlap;
    options.graphs = c.graphs;
    options.kv_blocks = kBlocks;
    if (c.placement >= 0) {
      ASSIGN_OR_RETURN(const auto description, model::read_model_description(options.model));
      options.placement_json =
          placement::PlacementTable::random(description.spec.moe_layers(), description.spec.experts,
                                            c.ranks, static_cast<uint64_t>(c.placement))
              .to_json();
    }
    ASSIGN_OR_RETURN(const auto group, ExecutorGroup::create(options));
    return run(*group, c);
  }

  static absl::StatusOr<std::vector<float>> run(ExecutorGroup& group, const Combination& c) {
    std::vector<int32_t> pool(kBlocks);
    std::iota(pool.begin(), pool.end(), 0);
    std::mt19937 random(c.block_seed);
    if (c.block_seed != 0) std::shuffle(pool.begin(), pool.end(), random);
    const size_t own = kTokens / kernels::kKvBlockTokens + 1;
    std::vector<int32_t> blocks(pool.begin(), pool.begin() + static_cast<int64_t>(own));
    Neighbours neighbours(c.ranks, {pool.begin() + static_cast<int64_t>(2 * own), pool.end()});
    if (c.preempted) {
      // Half of it runs, loses its blocks to somebody else, and starts over in others.
      RETURN_IF_ERROR(run_range(group, c, blocks, kTokens / 2, &neighbours).status());
      blocks.assign(pool.begin() + static_cast<int64_t>(own),
                    pool.begin() + static_cast<int64_t>(2 * own));
    }
    return run_range(group, c, blocks, kTokens, &neighbours);
  }

  static absl::StatusOr<std::vector<float>> run_range(ExecutorGroup& group, const Combination& c,
                                                      const std::vector<int32_t>& blocks, size_t end,
                                                      Neighbours* neighbours) {
    const std::vector<int32_t> tokens = random_tokens(7, kTokens);
    std::vector<float> logits;
    for (size_t start = 0; start < end;) {
      const size_t prefill_end = std::max(start, std::min(end, kTokens - kDecoded));
      const size_t count = start < prefill_end ? std::min(c.chunk, prefill_end - start) : 1;
      protocol::StepPlan plan;
      plan.deadline_ms = 60000;
      plan.step = static_cast<int64_t>(start);
      if (c.mixed) neighbours->add_to(&plan);
      protocol::SequenceChunk chunk = make_chunk(1, std::span(tokens).subspan(start, count),
                                                 static_cast<int32_t>(start), blocks);
      chunk.home_rank = c.home;
      chunk.want_logits = true;
      plan.chunks.insert(plan.chunks.begin() + static_cast<int64_t>(plan.chunks.size() / 2), chunk);
      ASSIGN_OR_RETURN(const protocol::StepResult result, group.run(plan));
      for (const protocol::SequenceResult& sequence : result.sequences) {
        if (sequence.sequence_id != 1) continue;
        logits.insert(logits.end(), sequence.logits.begin(), sequence.logits.end());
      }
      start += count;
    }
    return logits;
  }
};

Combination draw(std::mt19937* random) {
  const auto pick = [random](auto... choices) {
    const std::array all{choices...};
    return all[(*random)() % all.size()];
  };
  Combination c;
  c.model = pick("mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "mixtral_ladder_pregate");
  c.ranks = pick(1, 2, 4);
  c.threads = pick(1, 2);
  c.mixed = pick(false, true);
  c.chunk = pick(kTokens, size_t{1}, size_t{7}, size_t{64});
  c.placement = pick(-1, 1, 2, 3);
  c.overlap = pick("on", "off", "auto");
  c.home = static_cast<int32_t>((*random)() % static_cast<uint32_t>(c.ranks));
  c.preempted = pick(false, true);
  c.block_seed = pick(0u, 1u, 2u);
  c.graphs = pick(true, false);
  return c;
}

TEST_P(Law1Test, LogitsOfASequenceAreTheSameBitsInEveryCombination) {
  std::map<std::string, std::vector<float>> expected;
  std::mt19937 random(20261122);
  for (int i = 0; i < kDraws; ++i) {
    const Combination c = draw(&random);
    SCOPED_TRACE(c.text());
    if (expected[c.model].empty()) {
      Combination plain;
      plain.model = c.model;
      auto logits = logits_of(plain);
      ASSERT_TRUE(logits.ok()) << logits.status();
      ASSERT_EQ(logits->size(), kTokens * kVocab);
      expected[c.model] = *std::move(logits);
    }
    auto logits = logits_of(c);
    ASSERT_TRUE(logits.ok()) << logits.status();
    ASSERT_EQ(logits->size(), expected[c.model].size());
    EXPECT_EQ(std::memcmp(logits->data(), expected[c.model].data(), logits->size() * sizeof(float)), 0);
  }
}

std::string law1_name(const testing::TestParamInfo<std::tuple<std::string, ComputeType>>& info) {
  std::string name =
      std::get<0>(info.param) + "_" + compute_type_name(std::get<1>(info.param));
  for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(AllSets, Law1Test,
                         testing::Combine(testing::ValuesIn(TestKernelSets().available()),
                                          testing::Values(ComputeType::kF32, ComputeType::kBF16)),
                         law1_name);

class ComputeTypeTest : public Law1Test {};

TEST_P(ComputeTypeTest, Float32AndBfloat16DifferButNotByMuch) {
  Combination plain;
  plain.model = "mixtral";
  auto here = logits_of(plain);
  ASSERT_TRUE(here.ok()) << here.status();
  GroupOptions options;
  options.model = std::string(CONCLAVE_SOURCE_DIR) + "/tests/golden/models/mixtral";
  options.kernel_set = std::get<0>(GetParam());
  options.compute = ComputeType::kF32;
  options.kv_blocks = kBlocks;
  auto group = ExecutorGroup::create(options);
  ASSERT_TRUE(group.ok()) << group.status();
  auto exact = run(**group, plain);
  ASSERT_TRUE(exact.ok()) << exact.status();
  ASSERT_EQ(here->size(), exact->size());
  double largest = 0;
  double sum = 0;
  for (size_t i = 0; i < exact->size(); ++i) {
    const double difference = std::abs(static_cast<double>((*here)[i]) - (*exact)[i]);
    largest = std::max(largest, difference);
    sum += difference;
  }
  EXPECT_GT(largest, 1e-4);                                     // the rounding points exist
  EXPECT_LT(sum / static_cast<double>(exact->size()), 0.2);     // logits have a spread of about 2
}

INSTANTIATE_TEST_SUITE_P(AllSets, ComputeTypeTest,
                         testing::Combine(testing::ValuesIn(TestKernelSets().available()),
                                          testing::Values(ComputeType::kBF16)),
                         law1_name);

}  // namespace
}  // namespace conclave::worker
