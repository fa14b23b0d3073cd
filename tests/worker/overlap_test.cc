// Two steps on a device at a time: the second is enqueued before the first has ended, and takes its
// tokens where the first leaves them. On the fake device, whose work waits until somebody waits for
// it.

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <random>
#include <vector>

#include "comm/local/local_communicator.h"
#include "tests/support/fake_device_context.h"
#include "tests/worker/sequence_driver.h"
#include "tests/worker/test_kernel_sets.h"
#include "worker/rank.h"

namespace conclave::worker {
namespace {

constexpr int32_t kVocab = 512;
constexpr int32_t kBlocksEach = 4;
constexpr size_t kPrompt = 9;

struct Token {
  int32_t id = -1;
  float logprob = 0;
  bool operator==(const Token&) const = default;
};
using Texts = std::map<uint64_t, std::vector<Token>>;

// One rank on a fake device whose calls are deferred from here on.
class OneRank {
 public:
  explicit OneRank(bool graphs) : communicators_(comm::make_local_communicators(1)) {
    protocol::Configure configure;
    configure.model_path = std::string(CONCLAVE_SOURCE_DIR) + "/tests/golden/models/mixtral";
    configure.compute = ComputeType::kBF16;
    configure.kv_blocks = 64;
    configure.max_step_tokens = 64;
    configure.max_model_len = 128;
    Rank::Environment environment;
    environment.communicator = communicators_[0].get();
    environment.progress = &progress;
    DeviceOptions options;
    options.graphs = graphs;
    auto device = TestKernelSets().make_device(TestKernelSets::kFakeDevice, configure.compute, 0);
    EXPECT_TRUE(device.ok()) << device.status();
    context = (*device)->context();
    auto made = Rank::create(configure, *std::move(device), options, environment);
    EXPECT_TRUE(made.ok()) << made.status();
    rank = *std::move(made);
    context->deferred = true;
  }

  // The result of the step that finish() ends.
  protocol::StepResult finish(const protocol::StepPlan& plan) {
    EXPECT_TRUE(rank->finish().ok());
    protocol::StepResult result;
    rank->append_result(plan, &result);
    return result;
  }
  protocol::StepResult run(const protocol::StepPlan& plan) {
    EXPECT_TRUE(rank->enqueue(plan).ok());
    return finish(plan);
  }

  StepProgress progress;
  device::Context* context = nullptr;

 private:
  std::vector<std::unique_ptr<comm::Communicator>> communicators_;

 public:
  std::unique_ptr<Rank> rank;
};

protocol::SequenceChunk chunk_of(uint64_t id, std::vector<int32_t> tokens, size_t start,
                                 size_t position) {
  protocol::SequenceChunk chunk =
      make_chunk(id, tokens, static_cast<int32_t>(start),
                 consecutive_blocks(static_cast<int32_t>(id) * kBlocksEach, 16 * kBlocksEach));
  chunk.sample = true;
  chunk.sampling.temperature = id % 2 == 0 ? 0.0f : 0.9f;
  chunk.sampling.seed = id;
  chunk.sampling.position = static_cast<uint32_t>(position);
  if (id % 3 == 0) chunk.sampling.bias.push_back({7, -1.0f});
  return chunk;
}

protocol::StepPlan prompts_of(size_t sequences) {
  protocol::StepPlan plan;
  plan.step = 1;
  std::mt19937 random(7);
  for (uint64_t id = 0; id < sequences; ++id) {
    std::vector<int32_t> prompt;
    for (size_t i = 0; i < kPrompt; ++i) prompt.push_back(static_cast<int32_t>(random() % kVocab));
    plan.chunks.push_back(chunk_of(id, prompt, 0, 0));
  }
  return plan;
}

// Sequences of which fewer and fewer go on.
protocol::StepPlan decode_of(size_t sequences, size_t position) {
  protocol::StepPlan plan;
  plan.step = 1 + static_cast<int64_t>(position);
  plan.may_be_followed = true;
  for (uint64_t id = position / 4; id < sequences; ++id) {
    plan.chunks.push_back(
        chunk_of(id, {protocol::kPreviousToken}, kPrompt + position - 1, position));
  }
  return plan;
}

void take(const protocol::StepResult& result, Texts* texts) {
  for (const protocol::SequenceResult& sequence : result.sequences) {
    ASSERT_TRUE(sequence.sampled);
    (*texts)[sequence.sequence_id].push_back({sequence.token, sequence.logprob});
  }
}

constexpr size_t kSequences = 6;
constexpr size_t kSteps = 20;

Texts one_after_the_other(bool graphs) {
  OneRank one(graphs);
  Texts texts;
  take(one.run(prompts_of(kSequences)), &texts);
  for (size_t position = 1; position <= kSteps; ++position) {
    take(one.run(decode_of(kSequences, position)), &texts);
  }
  EXPECT_EQ(one.rank->device()->executor().steps_overlapped(), 0);
  return texts;
}

TEST(OverlapTest, TheSameTokensAndLogprobsWithTwoStepsOnTheDevice) {
  const Texts expected = one_after_the_other(false);
  EXPECT_EQ(expected.at(5).size(), 1 + kSteps);
  for (const bool graphs : {true, false}) {
    SCOPED_TRACE(graphs ? "graphs" : "no graphs");
    EXPECT_EQ(one_after_the_other(graphs), expected);
    OneRank one(graphs);
    Texts texts;
    take(one.run(prompts_of(kSequences)), &texts);
    protocol::StepPlan running = decode_of(kSequences, 1);
    ASSERT_TRUE(one.rank->enqueue(running).ok());
    for (size_t position = 2; position <= kSteps; ++position) {
      protocol::StepPlan next = decode_of(kSequences, position);
      const int64_t ran = one.context->ran;
      ASSERT_TRUE(one.rank->enqueue(next).ok());
      EXPECT_EQ(one.context->ran, ran) << "nobody waited for the older one";
      ASSERT_TRUE(one.rank->done().ok());
      EXPECT_EQ(one.progress.read().step, running.step) << "the rank is at the older step";
      take(one.finish(running), &texts);
      EXPECT_GT(one.context->enqueued, one.context->ran) << "the next one is on the stream";
      running = std::move(next);
    }
    take(one.finish(running), &texts);
    EXPECT_EQ(texts, expected);
    EXPECT_EQ(one.rank->device()->executor().steps_overlapped(), static_cast<int64_t>(kSteps) - 1);
    EXPECT_EQ(one.rank->device()->executor().graphs_captured() > 0, graphs);
  }
}

TEST(OverlapTest, AStepThatComputesAPromptWaitsForTheOneBefore) {
  const Texts expected = one_after_the_other(true);
  OneRank one(true);
  Texts texts;
  take(one.run(prompts_of(kSequences)), &texts);
  const protocol::StepPlan decode = decode_of(kSequences, 1);
  ASSERT_TRUE(one.rank->enqueue(decode).ok());
  protocol::StepPlan mixed = decode_of(kSequences, 2);
  protocol::StepPlan other = prompts_of(1);
  mixed.chunks.push_back(std::move(other.chunks[0]));
  mixed.chunks.back().sequence_id = 9;
  mixed.chunks.back().block_ids = consecutive_blocks(9 * kBlocksEach, 16 * kBlocksEach);
  ASSERT_TRUE(one.rank->enqueue(mixed).ok());
  EXPECT_EQ(one.rank->device()->executor().steps_overlapped(), 0);
  // A third one does not fit beside two that are not finished.
  EXPECT_FALSE(one.rank->enqueue(decode_of(kSequences, 3)).ok());
  take(one.finish(decode), &texts);
  take(one.finish(mixed), &texts);
  EXPECT_EQ(texts[9][0].id, expected.at(0)[0].id);
  for (uint64_t id = 0; id < kSequences; ++id) {
    EXPECT_EQ(texts[id], std::vector<Token>(expected.at(id).begin(), expected.at(id).begin() + 3));
  }
}

TEST(OverlapTest, APlanBlockThatMustGrowWaitsForTheStepThatReadsIt) {
  const Texts expected = one_after_the_other(true);
  OneRank one(true);
  Texts texts;
  take(one.run(prompts_of(kSequences)), &texts);
  const protocol::StepPlan decode = decode_of(kSequences, 1);
  ASSERT_TRUE(one.rank->enqueue(decode).ok());
  protocol::StepPlan large = decode_of(kSequences, 2);
  // A bias of nothing for every second token, many times over: 1 MiB is what a block has room for.
  for (int32_t i = 0; i < 200000; ++i) {
    large.chunks[0].sampling.bias.push_back({2 * (i % (kVocab / 2)), 0.0f});
  }
  ASSERT_TRUE(one.rank->enqueue(large).ok());
  take(one.finish(decode), &texts);
  take(one.finish(large), &texts);
  for (size_t position = 3; position <= kSteps; ++position) {
    take(one.run(decode_of(kSequences, position)), &texts);
  }
  for (uint64_t id = 1; id < kSequences; ++id) EXPECT_EQ(texts[id], expected.at(id));
}

TEST(OverlapTest, AStepBehindAnotherHasItsOwnTime) {
  OneRank one(true);
  one.run(prompts_of(1));
  protocol::StepPlan first = decode_of(1, 1);
  protocol::StepPlan second = decode_of(1, 2);
  first.deadline_ms = 60000;
  second.deadline_ms = 1;  // from the end of the first
  ASSERT_TRUE(one.rank->enqueue(first).ok());
  ASSERT_TRUE(one.rank->enqueue(second).ok());
  ASSERT_TRUE(one.rank->finish().ok());
  one.context->hold_events = one.context->events + 1;  // the second does not end
  const absl::Status status = one.rank->finish();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
  EXPECT_NE(status.message().find("did not finish step 3 within 1 ms"), std::string::npos)
      << status;
  EXPECT_EQ(one.progress.read().step, 3);
}

}  // namespace
}  // namespace conclave::worker
