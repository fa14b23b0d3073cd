// What clients get of a scheduler that others want as well.

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "scheduler_fixture.h"

namespace conclave::coordinator {
namespace {

struct Demand {
  std::string client;
  int32_t weight = 1;
  int32_t prompt = 20, output = 20;
  int32_t backlog = 30;  // open requests, always
};

class SchedulerFairnessTest : public SchedulerTest {
 protected:
  void begin_anew(const SchedulerOptions& options) {
    start(options);
    journal_ = Journal();
    events_.clear();
    seen_ = 0;
    open_.clear();
    known_.clear();
    served_.clear();
    rows_ = preemptions_ = 0;
  }
  SequenceId add_for(const std::string& client, int32_t prompt, int32_t output,
                     int32_t weight = 1) {
    GenerationRequest request =
        request_of(prompt, output, static_cast<int32_t>(next_salt_++ % 900));
    request.client = client;
    request.client_weight = weight;
    request.ignore_eos = true;
    const SequenceId id = add(std::move(request));
    client_of_[id] = client;
    ++open_[client];
    return id;
  }
  // One step, ahead of nothing; tokens of text that moved for the first time are counted.
  void advance() {
    const ScheduledStep planned = step();
    preemptions_ += planned.preemptions;
    for (const auto& chunk : planned.plan.chunks) {
      int32_t& known = known_[chunk.sequence_id];
      const int32_t end = chunk.start_position + static_cast<int32_t>(chunk.tokens.size());
      rows_ += static_cast<int64_t>(chunk.tokens.size());
      if (end <= known) continue;
      served_[client_of_.at(chunk.sequence_id)] += end - std::max(known, chunk.start_position);
      known = end;
    }
    for (; seen_ < events_.size(); ++seen_) {
      if (std::holds_alternative<GenerationEnd>(events_[seen_].what))
        --open_[client_of_.at(events_[seen_].id)];
    }
  }
  void advance_with(const std::vector<Demand>& demands, int steps) {
    for (int i = 0; i < steps; ++i) {
      for (const Demand& demand : demands) {
        while (open_[demand.client] < demand.backlog) {
          const int32_t spread = 1 + static_cast<int32_t>(random_() % 3);
          add_for(demand.client, demand.prompt * spread / 2 + 1, demand.output * spread / 2 + 1,
                  demand.weight);
        }
      }
      advance();
      if (HasFatalFailure()) return;
    }
  }
  int steps_until_token(SequenceId id, int most) {
    int steps = 0;
    for (; tokens_of(id).empty() && steps < most; ++steps) advance();
    return steps;
  }

  std::mt19937 random_{7};
  uint32_t next_salt_ = 0;
  std::map<SequenceId, std::string> client_of_;
  std::map<SequenceId, int32_t> known_;
  std::map<std::string, int32_t> open_;
  std::map<std::string, int64_t> served_;
  int64_t rows_ = 0, preemptions_ = 0;
  size_t seen_ = 0;
};

SchedulerOptions fair_options() {
  SchedulerOptions options = small_options();
  options.kv_blocks = {128, 128};
  options.max_running = 8;
  options.prefix_cache = false;
  return options;
}

TEST_F(SchedulerFairnessTest, BackloggedClientsGetTheirWeightsShareOfTokens) {
  struct Case {
    const char* what;
    std::vector<Demand> demands;
    double slack;  // of a share; text that is computed again for want of memory is its client's
  };
  const std::vector<Case> cases = {
      {"equal", {{"a", 1}, {"b", 1}}, 0.1},
      {"one floods", {{"a", 1, 20, 20, 600}, {"b", 1, 20, 20, 10}}, 0.1},
      {"weights", {{"a", 1}, {"b", 3}}, 0.1},
      {"prompts against outputs", {{"a", 1, 150, 2}, {"b", 1, 4, 60}}, 0.15},
      {"long outputs against short ones", {{"a", 1, 5, 150}, {"b", 1, 5, 3}}, 0.15},
      {"large requests against small ones", {{"a", 2, 120, 80}, {"b", 1, 5, 5}}, 0.15},
      {"four", {{"a", 1}, {"b", 2, 60, 4}, {"c", 3, 5, 40}, {"d", 4, 40, 40}}, 0.15},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.what);
    for (const bool scarce_memory : {false, true}) {
      SCOPED_TRACE(scarce_memory);
      SchedulerOptions options = fair_options();
      if (scarce_memory) options.kv_blocks = {24, 24};
      begin_anew(options);
      advance_with(c.demands, 200);
      served_.clear();
      advance_with(c.demands, 3000);
      if (HasFatalFailure()) return;
      double weights = 0, total = 0;
      for (const Demand& demand : c.demands) weights += demand.weight;
      for (const auto& [client, tokens] : served_) total += static_cast<double>(tokens);
      for (const Demand& demand : c.demands) {
        const double share =
            static_cast<double>(served_[demand.client]) / total * weights / demand.weight;
        EXPECT_GT(share, 1 - (scarce_memory ? 2 : 1) * c.slack) << demand.client;
      }
    }
  }
}

// The text that displacements let compute again is an eighth of all rows at the most.
TEST_F(SchedulerFairnessTest, DisplacementsDoNotEatWhatTheyShare) {
  SchedulerOptions options = fair_options();
  options.max_model_len = 200;
  start(options);
  const std::vector<Demand> demands = {{"a", 1, 5, 120}, {"b", 1, 5, 3}, {"c", 2, 100, 10}};
  advance_with(demands, 4000);
  int64_t served = 0;
  for (const auto& [client, tokens] : served_) served += tokens;
  EXPECT_GT(preemptions_, 50);
  EXPECT_LT(rows_ - served, rows_ / 8 + 5 * options.max_model_len);
}

TEST_F(SchedulerFairnessTest, AFloodOfLongAnswersDoesNotKeepAnotherWaiting) {
  for (const bool pipeline : {false, true}) {
    SchedulerOptions options = fair_options();
    options.pipeline = pipeline;
    options.prefix_cache = true;  // who is displaced finds its text there again
    begin_anew(options);
    std::vector<SequenceId> flood;
    for (int i = 0; i < 100; ++i) flood.push_back(add_for("a", 4, 250));
    for (int i = 0; i < 20; ++i) advance();
    // One short request after the other, each into a cluster whose places are all taken.
    for (int i = 0; i < 20; ++i) {
      const SequenceId id = add_for("b", 10, 2);
      EXPECT_LE(steps_until_token(id, 100), 12) << "request " << i;
    }
    while (end_of(flood[0]) == nullptr) advance();
    EXPECT_EQ(tokens_of(flood[0]).size(), 250u);
  }
}

TEST_F(SchedulerFairnessTest, AFloodThatHoldsAllMemoryDoesNotKeepAnotherWaiting) {
  SchedulerOptions options = fair_options();
  options.kv_blocks = {20};
  start(options);
  for (int i = 0; i < 20; ++i) add_for("a", 60, 150);
  for (int i = 0; i < 20; ++i) advance();
  EXPECT_LE(steps_until_token(add_for("b", 10, 2), 100), 12);
  EXPECT_LE(steps_until_token(add_for("b", 200, 2), 100), 40)
      << "needs more than half of the memory";
}

TEST_F(SchedulerFairnessTest, AFloodOfLongPromptsDoesNotKeepAnotherWaiting) {
  SchedulerOptions options = fair_options();
  start(options);
  for (int i = 0; i < 50; ++i) add_for("a", 240, 4);
  for (int i = 0; i < 5; ++i) advance();
  EXPECT_LE(steps_until_token(add_for("b", 10, 2), 100), 2);
}

// Small requests of many clients may not pass the large one of another for ever.
TEST_F(SchedulerFairnessTest, ALargeRequestIsNotPassedForEver) {
  SchedulerOptions options = fair_options();
  options.kv_blocks = {18};
  start(options);
  std::vector<Demand> small;
  for (int i = 0; i < 6; ++i) small.push_back({"small-" + std::to_string(i), 1, 8, 20, 4});
  advance_with(small, 50);
  const SequenceId large = add_for("large", 240, 4);
  int steps = 0;
  for (; tokens_of(large).empty() && steps < 2000; ++steps) advance_with(small, 1);
  EXPECT_LT(steps, 300);
}

TEST_F(SchedulerFairnessTest, ALoneClientIsServedAsIfThereWereNoClients) {
  std::vector<std::vector<Rows>> plans;
  for (const std::string client : {"", "alone"}) {
    begin_anew(fair_options());
    last_id_ = 0;
    next_salt_ = 0;
    std::vector<Rows>& of_client = plans.emplace_back();
    for (int i = 0; i < 30; ++i) add_for(client, 3 + 7 * i % 90, 1 + 11 * i % 50, 1 + i % 3);
    while (scheduler_->has_work()) of_client.push_back(rows(step()));
  }
  EXPECT_EQ(plans[0], plans[1]);
  EXPECT_GT(plans[0].size(), 20u);
}

TEST_F(SchedulerFairnessTest, PriorityOrdersWithinAClientAndNotBetweenClients) {
  SchedulerOptions options = fair_options();
  options.max_running = 1;
  start(options);
  const auto with_priority = [this](const std::string& client, int32_t priority) {
    GenerationRequest request = request_of(4, 1, static_cast<int32_t>(10 * next_salt_++));
    request.client = client;
    request.priority = priority;
    return add(std::move(request));
  };
  std::vector<SequenceId> urgent;
  for (int i = 0; i < 200; ++i) urgent.push_back(with_priority("urgent", -100));
  const auto last = with_priority("calm", 5), first = with_priority("calm", -5);
  std::vector<SequenceId> calm_order;
  int before_calm = 0;
  while (scheduler_->has_work()) {
    const SequenceId id = rows(step()).front().first;
    if (id == first || id == last) calm_order.push_back(id);
    before_calm += calm_order.empty() ? 1 : 0;
  }
  EXPECT_EQ(calm_order, (std::vector<SequenceId>{first, last}));
  EXPECT_LE(before_calm, 1);
}

// What was used while nobody else wanted it is not held against anyone.
TEST_F(SchedulerFairnessTest, NobodyPaysForWhatWasIdle) {
  start(fair_options());
  const std::vector<Demand> busy = {{"a", 1, 20, 20}}, both = {{"a", 1, 20, 20}, {"b", 1, 20, 20}};
  advance_with(busy, 2000);
  served_.clear();
  advance_with(both, 400);
  const double share =
      static_cast<double>(served_["a"]) / static_cast<double>(served_["a"] + served_["b"]);
  EXPECT_GT(share, 0.4);
  EXPECT_LT(share, 0.6);
}

TEST_F(SchedulerFairnessTest, ProbesComeInBesideAFlood) {
  SchedulerOptions options = fair_options();
  start(options);
  for (int i = 0; i < 100; ++i) add_for("a", 4, 250);
  for (int i = 0; i < 20; ++i) advance();
  GenerationRequest probe = request_of(1, 1, 5);
  probe.probe = true;
  const SequenceId id = add(std::move(probe));
  client_of_[id] = "probe";
  EXPECT_LE(steps_until_token(id, 100), 12);
  for (const ClientLoad& load : scheduler_->client_loads()) EXPECT_EQ(load.name, "a");
}

}  // namespace
}  // namespace conclave::coordinator
