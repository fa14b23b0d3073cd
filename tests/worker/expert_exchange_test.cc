// What happens while expert rows travel, on a transport with a fixed delay and a clock that only
// the test and that transport move.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "comm/local/local_communicator.h"
#include "kernels/reference/reference_kernels.h"
#include "tests/support/delayed_communicator.h"
#include "tests/worker/observed_kernels.h"
#include "tests/worker/sequence_driver.h"

namespace conclave::worker {
namespace {

constexpr int kRanks = 2;
constexpr int64_t kCallUs = 100;    // fake cost of one call of the expert kernel
constexpr int64_t kExpertUs = 100;  // or, in other tests, of one expert in such a call
enum class Cost { kPerCall, kPerExpert };
constexpr int32_t kFirstMoeLayer = 0;

// Two ranks whose only slow things are the transport and the expert kernel.
class DelayedGroup {
 public:
  struct Member {
    comm::FakeClock clock;
    std::unique_ptr<comm::DelayedCommunicator> communicator;
    StepProgress progress;
    std::unique_ptr<Rank> rank;
  };

  DelayedGroup(const std::string& overlap, int64_t delay_us, Cost cost = Cost::kPerCall)
      : cost_(cost) {
    inner_ = comm::make_local_communicators(kRanks);
    for (int r = 0; r < kRanks; ++r) {
      Member& member = members_[r];
      member.communicator = std::make_unique<comm::DelayedCommunicator>(
          inner_[static_cast<size_t>(r)].get(), &member.clock, delay_us);
      make_rank(&member, overlap);
    }
  }

  // Four tokens on each rank; results of both.
  std::vector<float> run() {
    protocol::StepPlan plan;
    for (int r = 0; r < kRanks; ++r) {
      const int32_t tokens[] = {3 + r, 50 + r, 7, 400 - r};
      plan.chunks.push_back(
          make_chunk(static_cast<uint64_t>(r + 1), tokens, 0, consecutive_blocks(0, 4)));
      plan.chunks.back().home_rank = r;
      plan.chunks.back().want_logits = true;
    }
    std::vector<std::thread> threads;
    for (Member& member : members_) {
      threads.emplace_back([&] { status_of(member) = member.rank->run(plan); });
    }
    for (std::thread& thread : threads) thread.join();
    protocol::StepResult result;
    for (int r = 0; r < kRanks; ++r) {
      EXPECT_TRUE(statuses_[r].ok()) << statuses_[r];
      members_[r].rank->append_result(plan, &result);
    }
    std::vector<float> logits;
    for (const auto& sequence : result.sequences) {
      logits.insert(logits.end(), sequence.logits.begin(), sequence.logits.end());
    }
    timing_ = result.ranks[0];
    return logits;
  }

  Member& member(int rank) { return members_[rank]; }
  const protocol::RankTiming& timing() const { return timing_; }

  // Events of one layer on one rank, expert calls as "experts".
  std::vector<std::string> layer_events(int rank, int32_t layer) const {
    std::vector<std::string> texts;
    bool inside = false;
    for (const comm::CommEvent& event : members_[rank].communicator->events()) {
      if (event.operation == "experts") {
        if (inside) texts.emplace_back("experts");
        continue;
      }
      if (event.layer != layer) continue;
      using Kind = comm::CommEvent::Kind;
      if (event.kind == Kind::kBegin) {
        inside = true;
        texts.push_back("begin " + event.operation);
      } else if (event.kind == Kind::kFinish) {
        texts.push_back("finish " + event.operation);
        inside = event.operation != "combine";
      }
    }
    return texts;
  }

 private:
  absl::Status& status_of(const Member& member) { return statuses_[&member - &members_[0]]; }
  void make_rank(Member* member, const std::string& overlap) {
    auto kernels = std::make_unique<ObservedKernels>(
        kernels::make_reference_kernels(ComputeType::kF32),
        [this, member](std::span<const kernels::ExpertGroup> groups) {
          const auto experts = static_cast<int64_t>(groups.size());
          member->clock.advance_us(cost_ == Cost::kPerCall ? kCallUs : experts * kExpertUs);
          comm::CommEvent mark;
          mark.operation = "experts";
          member->communicator->record(mark);
        });
    protocol::Configure configure;
    configure.model_path = std::string(CONCLAVE_SOURCE_DIR) + "/tests/golden/models/qwen2_moe";
    configure.overlap = overlap;
    configure.kv_blocks = 4;
    configure.max_step_tokens = 16;
    configure.max_model_len = 64;
    Rank::Environment environment;
    environment.communicator = member->communicator.get();
    environment.progress = &member->progress;
    environment.clock = [member] { return static_cast<double>(member->clock.now_us()) * 1e-6; };
    auto rank = Rank::create(configure, std::move(kernels), environment);
    ASSERT_TRUE(rank.ok()) << rank.status();
    member->rank = *std::move(rank);
    member->communicator->clear_events();
  }

  Cost cost_;
  std::vector<std::unique_ptr<comm::Communicator>> inner_;
  Member members_[kRanks];
  absl::Status statuses_[kRanks];
  protocol::RankTiming timing_;
};

TEST(ExpertExchangeTest, WithOverlapLocalRowsAndTheSharedExpertRunWhileRowsTravel) {
  DelayedGroup group("on", /*delay_us=*/1000);
  group.run();
  EXPECT_THAT(group.layer_events(0, kFirstMoeLayer),
              testing::ElementsAre("begin dispatch", "experts", "experts", "finish dispatch",
                                   "experts", "begin combine", "finish combine"));
}

TEST(ExpertExchangeTest, WithoutOverlapNothingRunsWhileRowsTravelAndRowsOfAnExpertAreMerged) {
  DelayedGroup group("off", /*delay_us=*/1000);
  group.run();
  EXPECT_THAT(group.layer_events(0, kFirstMoeLayer),
              testing::ElementsAre("begin dispatch", "finish dispatch", "experts", "begin combine",
                                   "finish combine"));
}

TEST(ExpertExchangeTest, TheSharedExpertHidesTheReturnWhenTheDispatchWasFast) {
  DelayedGroup group("on", /*delay_us=*/kCallUs);
  group.run();
  EXPECT_THAT(group.layer_events(0, kFirstMoeLayer),
              testing::ElementsAre("begin dispatch", "experts", "finish dispatch", "experts",
                                   "begin combine", "experts", "finish combine"));
}

TEST(ExpertExchangeTest, OverlapHidesAsMuchOfTheExchangeAsThereIsLocalWork) {
  constexpr int64_t kDelayUs = 1000;
  DelayedGroup off("off", kDelayUs);
  off.run();
  DelayedGroup on("on", kDelayUs);
  on.run();
  const double moe_layers = 3;
  const double delay = kDelayUs * 1e-6;
  const double polls = 20e-6;
  // Off: both directions of every layer are waited for in full. On: two expert calls cover a part.
  EXPECT_NEAR(off.timing().exchange_exposed_seconds, moe_layers * 2 * delay, 1e-9);
  EXPECT_NEAR(on.timing().exchange_exposed_seconds, moe_layers * (2 * delay - 2 * kCallUs * 1e-6),
              polls);
  EXPECT_NEAR(on.timing().exchange_seconds, moe_layers * 2 * delay, 1e-9);
  EXPECT_NEAR(static_cast<double>(on.member(0).communicator->exposed_wait_us()) * 1e-6,
              on.timing().exchange_exposed_seconds, 1e-9);
}

TEST(ExpertExchangeTest, AutoWaitsForNothingThatHasArrived) {
  DelayedGroup group("auto", /*delay_us=*/0);
  group.run();
  // Each expert once, remote rows with local ones; then the shared expert while results return.
  EXPECT_THAT(group.layer_events(0, kFirstMoeLayer),
              testing::ElementsAre("begin dispatch", "finish dispatch", "experts", "begin combine",
                                   "experts", "finish combine"));
}

// One layer, after the cost model has learnt what an expert costs.
std::vector<std::string> learnt_events(int64_t delay_us) {
  DelayedGroup group("auto", delay_us, Cost::kPerExpert);
  for (int i = 0; i < 40; ++i) group.run();
  group.member(0).communicator->clear_events();
  group.run();
  return group.layer_events(0, kFirstMoeLayer);
}

TEST(ExpertExchangeTest, AutoWaitsForRowsThatComeSoonerThanAnExpertRunsTwice) {
  EXPECT_THAT(learnt_events(kExpertUs / 2),
              testing::ElementsAre("begin dispatch", "finish dispatch", "experts", "begin combine",
                                   "experts", "finish combine"));
}

TEST(ExpertExchangeTest, AutoComputesExpertByExpertUntilRowsArrive) {
  // It waits for one expert's time, computes two, and the others together with the remote rows.
  EXPECT_THAT(learnt_events(5 * kExpertUs / 2),
              testing::ElementsAre("begin dispatch", "experts", "experts", "finish dispatch",
                                   "experts", "begin combine", "experts", "finish combine"));
}

TEST(ExpertExchangeTest, OverlapOnOffAndAutoGiveTheSameBits) {
  const std::vector<float> on = DelayedGroup("on", 1000).run();
  ASSERT_FALSE(on.empty());
  EXPECT_EQ(on, DelayedGroup("off", 1000).run());
  EXPECT_EQ(on, DelayedGroup("auto", 1000).run());
  EXPECT_EQ(on, DelayedGroup("auto", 0).run());
  EXPECT_EQ(on, DelayedGroup("auto", kCallUs).run());
  EXPECT_EQ(on, DelayedGroup("auto", 2 * kCallUs).run());
}

TEST(ExpertExchangeTest, ATokenTravelsOnceToARankHoweverManyOfItsExpertsLiveThere) {
  DelayedGroup group("on", 0);
  group.run();
  const auto& events = group.member(0).communicator->events();
  const auto begin = std::find_if(events.begin(), events.end(), [](const comm::CommEvent& event) {
    return event.kind == comm::CommEvent::Kind::kBegin && event.operation == "dispatch";
  });
  ASSERT_NE(begin, events.end());
  const int64_t row_bytes = group.member(0).rank->spec().hidden * 4;
  const int64_t lists_bytes =
      64 + 4 * 4 * 4;  // header, counts and at most four experts for four rows
  EXPECT_LE(begin->bytes, 4 * row_bytes + lists_bytes + 64);
}

}  // namespace
}  // namespace conclave::worker
