// The context-coherent plan: tokens that follow their leading experts from rank to rank give the
// bits of the fixed plan, under random placements with replicas that change on the way; and what
// travels is what the placement evaluator says.

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <map>
#include <random>

#include "expert_placement/objective/traffic.h"
#include "expert_placement/table/placement_table.h"
#include "tests/worker/sequence_driver.h"
#include "tests/worker/test_kernel_sets.h"

namespace conclave::worker {
namespace {

using Holders = std::vector<std::vector<int32_t>>;

constexpr int32_t kVocab = 512;
constexpr int kSequences = 6;
constexpr int kSteps = 24;
constexpr int32_t kSlots = 9;  // enough for twelve experts and their replicas on two ranks
// One expert a token: there is nothing to return but for prompts.
constexpr const char* kTopOneShape =
    R"({"model_type": "olmoe", "vocab_size": 512, "hidden_size": 64,
    "intermediate_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "num_experts": 8, "num_experts_per_tok": 1,
    "max_position_embeddings": 512, "torch_dtype": "bfloat16"})";

// One or two random ranks for each expert, at most `slots` experts on a rank.
Holders random_holders(int32_t experts, int ranks, int32_t slots, std::mt19937* random) {
  Holders holders(static_cast<size_t>(experts));
  std::vector<int32_t> used(static_cast<size_t>(ranks), 0);
  for (int32_t round = 0; round < 2; ++round) {
    for (int32_t e = 0; e < experts; e += 1 + 2 * round) {
      auto& where = holders[static_cast<size_t>(e)];
      auto rank = static_cast<int32_t>((*random)() % static_cast<uint32_t>(ranks));
      while (used[static_cast<size_t>(rank)] >= slots) rank = (rank + 1) % ranks;
      if (std::find(where.begin(), where.end(), rank) != where.end()) continue;
      where.push_back(rank);
      std::sort(where.begin(), where.end());
      ++used[static_cast<size_t>(rank)];
    }
  }
  return holders;
}

struct Sequence {
  std::vector<int32_t> tokens;
  size_t prompt = 0;
  size_t begin = 0;  // the step it arrives in
  size_t done = 0;
};

// Sequences that come one after another: prompts in pieces of `piece` rows, then token by token.
class Script {
 public:
  explicit Script(size_t piece) : piece_(piece) {
    std::mt19937 random(99);
    for (int s = 0; s < kSequences; ++s) {
      Sequence sequence;
      sequence.prompt = 1 + random() % 6;
      sequence.begin = static_cast<size_t>(2 * s);
      for (int i = 0; i < 40; ++i)
        sequence.tokens.push_back(static_cast<int32_t>(random() % kVocab));
      sequences_.push_back(std::move(sequence));
    }
  }
  protocol::StepPlan next(int64_t step, int ranks, bool coherent) {
    protocol::StepPlan plan;
    plan.step = step;
    plan.deadline_ms = 60000;
    plan.shared_kv = coherent;
    for (size_t s = 0; s < sequences_.size(); ++s) {
      Sequence& sequence = sequences_[s];
      if (static_cast<size_t>(step) < sequence.begin) continue;
      const bool decoding = sequence.done >= sequence.prompt;
      const size_t rows = decoding ? 1 : std::min(piece_, sequence.prompt - sequence.done);
      plan.chunks.push_back(make_chunk(s + 1,
                                       std::span(sequence.tokens).subspan(sequence.done, rows),
                                       static_cast<int32_t>(sequence.done),
                                       consecutive_blocks(static_cast<int32_t>(3 * s), 40)));
      protocol::SequenceChunk& chunk = plan.chunks.back();
      chunk.home_rank = static_cast<int32_t>((s + (decoding ? static_cast<size_t>(step) : 0)) %
                                             static_cast<size_t>(ranks));
      if (!coherent) chunk.home_rank = static_cast<int32_t>(s) % ranks;
      chunk.coherent = coherent && decoding;
      chunk.want_logits = true;
      sequence.done += rows;
    }
    return plan;
  }

 private:
  size_t piece_;
  std::vector<Sequence> sequences_;
};

struct Outcome {
  std::map<uint64_t, std::vector<float>> logits;  // by sequence
  std::vector<protocol::StepPlan> plans;
  std::vector<protocol::RoutingCounts> routing;              // of each step, rank 0
  std::vector<protocol::RowRouting> recorded;                // of each step
  std::map<std::pair<int, int>, protocol::Traffic> traffic;  // by plan and direction
};

struct Case {
  std::string model;
  size_t piece = 3;
  int ranks = 1;
  std::string plan = "fixed";
  bool moving = false;
  std::string placement_json;
};

using Parameters = std::tuple<std::string, ComputeType>;

class CoherentTest : public testing::TestWithParam<Parameters> {
 protected:
  static absl::StatusOr<Outcome> run(const Case& c, const std::string& kernel_set,
                                     ComputeType compute) {
    GroupOptions options;
    if (c.model.empty()) {
      options.dummy_shape_json = kTopOneShape;
    } else {
      options.model = std::string(CONCLAVE_SOURCE_DIR) + "/tests/golden/models/" + c.model;
    }
    options.kernel_set = kernel_set;
    options.compute = compute;
    options.ranks = c.ranks;
    options.plan = c.plan;
    options.placement_json = c.placement_json;
    options.expert_slots = kSlots;
    options.max_step_tokens = 32;
    ASSIGN_OR_RETURN(const auto group, ExecutorGroup::create(options));
    std::mt19937 random(5);
    Outcome outcome;
    Script script(c.piece);
    int64_t epoch = 0;
    const auto layers = static_cast<int32_t>(group->spec().moe_layers().size());
    for (int64_t step = 0; step < kSteps; ++step) {
      protocol::StepPlan plan = script.next(step, c.ranks, c.plan == "coherent");
      plan.placement_epoch = epoch;
      plan.report_routing = true;
      plan.record_routing = true;
      if (c.moving && step % 2 == 0) {
        plan.prepare = protocol::PlacementUpdate{epoch + 1, {}};
        plan.prepare->layers.push_back(
            {static_cast<int32_t>(step / 2) % layers,
             random_holders(group->spec().experts, c.ranks, kSlots, &random)});
      }
      ASSIGN_OR_RETURN(protocol::StepResult result, group->run(plan));
      for (const protocol::SequenceResult& sequence : result.sequences) {
        auto& logits = outcome.logits[sequence.sequence_id];
        logits.insert(logits.end(), sequence.logits.begin(), sequence.logits.end());
      }
      for (const protocol::RankTiming& rank : result.ranks) {
        for (const protocol::Traffic& traffic : rank.traffic) {
          auto& sum =
              outcome
                  .traffic[{static_cast<int>(traffic.plan), static_cast<int>(traffic.direction)}];
          sum.messages += traffic.messages;
          sum.bytes += traffic.bytes;
        }
      }
      outcome.routing.push_back(std::move(result.routing.at(0)));
      outcome.recorded.push_back(std::move(result.rows));
      outcome.plans.push_back(plan);
      if (!plan.prepare) continue;
      RETURN_IF_ERROR(group->wait_prepared(epoch + 1));
      ++epoch;
    }
    return outcome;
  }
};

void expect_same_bits(const Outcome& a, const Outcome& b) {
  ASSERT_EQ(a.logits.size(), b.logits.size());
  for (const auto& [sequence, logits] : a.logits) {
    const std::vector<float>& other = b.logits.at(sequence);
    ASSERT_EQ(logits.size(), other.size()) << "sequence " << sequence;
    ASSERT_FALSE(logits.empty());
    EXPECT_EQ(std::memcmp(logits.data(), other.data(), logits.size() * sizeof(float)), 0)
        << "sequence " << sequence;
  }
}

TEST_P(CoherentTest, TokensThatFollowTheirExpertsGiveTheBitsOfTheFixedPlan) {
  const auto& [kernel_set, compute] = GetParam();
  for (const char* model : {"mixtral", "mixtral_ladder", "qwen2_moe", ""}) {
    SCOPED_TRACE(model);
    const auto expected = run({model}, kernel_set, compute);
    ASSERT_TRUE(expected.ok()) << expected.status();
    for (const int ranks : {2, 4}) {
      for (const bool moving : {false, true}) {
        SCOPED_TRACE(testing::Message() << ranks << " ranks" << (moving ? ", moving" : ""));
        const auto coherent = run({model, 3, ranks, "coherent", moving}, kernel_set, compute);
        ASSERT_TRUE(coherent.ok()) << coherent.status();
        expect_same_bits(*expected, *coherent);
      }
    }
    // Other pieces of the prompts: other steps mix both kinds of rows.
    const auto pieces = run({model, 2, 4, "coherent", true}, kernel_set, compute);
    ASSERT_TRUE(pieces.ok()) << pieces.status();
    for (const auto& [sequence, logits] : pieces->logits) {
      const auto& other = expected->logits.at(sequence);
      const size_t both = std::min(logits.size(), other.size());
      ASSERT_GT(both, 0u);
      EXPECT_EQ(std::memcmp(logits.data(), other.data(), both * sizeof(float)), 0);
    }
  }
}

std::string name_of(const testing::TestParamInfo<Parameters>& info) {
  std::string name = std::get<0>(info.param) + "_" + compute_type_name(std::get<1>(info.param));
  for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(AllSets, CoherentTest,
                         testing::Combine(testing::ValuesIn(host_kernel_sets()),
                                          testing::Values(ComputeType::kF32, ComputeType::kBF16)),
                         name_of);

// A run on one rank samples every row of its small steps, so its report is the routing of every
// run.
class TrafficTest : public CoherentTest {
 protected:
  void SetUp() override {
    const auto description = model::read_model_description(std::string(CONCLAVE_SOURCE_DIR) +
                                                           "/tests/golden/models/mixtral");
    ASSERT_TRUE(description.ok());
    spec_ = description->spec;
    const auto alone = run({"mixtral", 1}, "reference", ComputeType::kF32);
    ASSERT_TRUE(alone.ok()) << alone.status();
    rows_.layers = static_cast<int32_t>(spec_.moe_layers().size());
    rows_.experts = spec_.experts;
    rows_.top_k = spec_.top_k;
    routing_ = alone->routing;
    alone_ = *alone;
    for (const auto& counts : routing_) {
      ASSERT_EQ(static_cast<int64_t>(counts.sample_sequences.size()), counts.rows);
    }
  }
  // The rows of one kind, and where each begins.
  placement::RoutingRows rows_of(const Outcome& run, bool coherent,
                                 std::vector<int32_t>* homes) const {
    placement::RoutingRows rows = rows_;
    const size_t width = static_cast<size_t>(rows.layers) * static_cast<size_t>(rows.top_k);
    for (size_t step = 0; step < run.plans.size(); ++step) {
      for (size_t i = 0; i < run.plans[step].chunks.size(); ++i) {
        const protocol::SequenceChunk& chunk = run.plans[step].chunks[i];
        if (chunk.coherent != coherent) continue;
        EXPECT_EQ(chunk.tokens.size(), 1u);
        const auto first = routing_[step].samples.begin() + static_cast<int64_t>(i * width);
        rows.chosen.insert(rows.chosen.end(), first, first + static_cast<int64_t>(width));
        rows.sequence.push_back(static_cast<int32_t>(chunk.sequence_id));
        homes->push_back(chunk.home_rank);
      }
    }
    return rows;
  }
  // Every row of every layer is told of once, by whichever rank it was on, as the lone rank had it.
  void expect_recorded(const Outcome& run) const {
    const auto k = static_cast<size_t>(spec_.top_k);
    for (size_t step = 0; step < run.recorded.size(); ++step) {
      const protocol::RowRouting& recorded = run.recorded[step];
      std::vector<uint16_t> rows(routing_[step].samples.size(), 0xffff);
      ASSERT_EQ(recorded.experts.size(), rows.size());
      ASSERT_EQ(recorded.places.size() * k, rows.size());
      for (size_t i = 0; i < recorded.places.size(); ++i) {
        ASSERT_LT(recorded.places[i] * k, rows.size());
        std::copy_n(recorded.experts.begin() + static_cast<int64_t>(i * k), k,
                    rows.begin() + static_cast<int64_t>(recorded.places[i] * k));
      }
      EXPECT_EQ(rows, routing_[step].samples) << "step " << step;
    }
  }
  void expect_as_predicted(Outcome& run, const placement::PlacementTable& table, bool coherent) {
    std::vector<int32_t> homes;
    expect_recorded(run);
    const placement::RoutingRows rows = rows_of(run, coherent, &homes);
    ASSERT_GT(rows.rows(), 10);
    const placement::Traffic predicted = placement::count_traffic(
        rows, table, coherent ? placement::Plan::kCoherent : placement::Plan::kFixed, homes);
    const int plan = coherent ? 1 : 0;
    const int64_t row_bytes = int64_t{spec_.hidden} * 4;
    EXPECT_EQ((run.traffic[{plan, 0}].messages), predicted.dispatched);
    EXPECT_EQ((run.traffic[{plan, 1}].messages), predicted.returned);
    EXPECT_EQ((run.traffic[{plan, 0}].bytes), (predicted.dispatched + predicted.moves) * row_bytes);
    EXPECT_EQ((run.traffic[{plan, 1}].bytes), predicted.returned_rows * row_bytes);
  }

  model::ModelSpec spec_;
  placement::RoutingRows rows_;
  std::vector<protocol::RoutingCounts> routing_;
  Outcome alone_;
};

TEST_F(TrafficTest, CountersOfARunAreWhatTheEvaluatorPredictsForItsRouting) {
  for (const int ranks : {2, 4}) {
    for (const uint32_t seed : {1u, 2u}) {
      SCOPED_TRACE(testing::Message() << ranks << " ranks, table " << seed);
      std::mt19937 random(seed);
      auto table = placement::PlacementTable::contiguous(spec_.moe_layers(), spec_.experts, ranks);
      for (int32_t layer = 0; layer < table.layers(); ++layer) {
        table = table.with_layer(layer, random_holders(spec_.experts, ranks, kSlots, &random));
      }
      auto fixed = run({"mixtral", 1, ranks, "fixed", false, table.to_json()}, "reference",
                       ComputeType::kF32);
      ASSERT_TRUE(fixed.ok()) << fixed.status();
      expect_as_predicted(*fixed, table, /*coherent=*/false);
      auto coherent = run({"mixtral", 1, ranks, "coherent", false, table.to_json()}, "reference",
                          ComputeType::kF32);
      ASSERT_TRUE(coherent.ok()) << coherent.status();
      expect_as_predicted(*coherent, table, /*coherent=*/true);
      expect_as_predicted(*coherent, table, /*coherent=*/false);
    }
  }
}

TEST_F(TrafficTest, ATokenUsesTheCopyOnItsOwnMachine) {
  std::mt19937 random(3);
  auto table = placement::PlacementTable::contiguous(spec_.moe_layers(), spec_.experts, 4);
  for (int32_t layer = 0; layer < table.layers(); ++layer)
    table = table.with_layer(layer, random_holders(spec_.experts, 4, kSlots, &random));
  auto on_machines = table;
  on_machines.set_ranks_per_node(std::vector<int32_t>{1, 3});
  bool differs = false;
  for (int32_t layer = 0; layer < table.layers(); ++layer) {
    for (int32_t expert = 0; expert < table.experts(); ++expert) {
      for (int32_t rank = 0; rank < 4; ++rank) {
        differs = differs || table.serving_rank(layer, expert, rank) !=
                                 on_machines.serving_rank(layer, expert, rank);
      }
    }
  }
  ASSERT_TRUE(differs);
  for (const std::string plan : {"fixed", "coherent"}) {
    SCOPED_TRACE(plan);
    auto still = run({"mixtral", 1, 4, plan, false, on_machines.to_json()}, "reference",
                     ComputeType::kF32);
    ASSERT_TRUE(still.ok()) << still.status();
    expect_as_predicted(*still, on_machines, plan == "coherent");
    expect_same_bits(alone_, *still);
    const auto moving = run({"mixtral", 1, 4, plan, true, on_machines.to_json()}, "reference",
                            ComputeType::kF32);
    ASSERT_TRUE(moving.ok()) << moving.status();
    expect_same_bits(alone_, *moving);
  }
}

}  // namespace
}  // namespace conclave::worker
