// Laws of the scheduler under random load: whatever the arrivals, lengths, priorities,
// cancellations, pool sizes and preemptions, each accepted request gets exactly the tokens that it
// would get alone.

#include <algorithm>
#include <deque>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "coordinator/engine/scheduler.h"
#include "fake_model.h"
#include "gtest/gtest.h"

namespace conclave::coordinator {
namespace {

constexpr int32_t kVocab = 24;
constexpr int32_t kEos = 5;

struct Outcome {
  std::vector<int32_t> tokens;
  FinishReason reason = FinishReason::kStop;
};

// What the request must give, computed without any scheduler.
Outcome alone(const GenerationRequest& request, int32_t max_model_len) {
  Outcome outcome;
  outcome.reason = FinishReason::kLength;
  std::vector<int32_t> text = request.prompt;
  std::set<int32_t> stops(request.stop_token_ids.begin(), request.stop_token_ids.end());
  if (!request.ignore_eos) stops.insert(kEos);
  while (static_cast<int32_t>(outcome.tokens.size()) < request.max_tokens &&
         static_cast<int32_t>(text.size()) < max_model_len) {
    protocol::Sampling sampling = request.sampling;
    sampling.position = static_cast<uint32_t>(outcome.tokens.size());
    if (sampling.presence_penalty != 0) {
      std::map<int32_t, protocol::TokenCount> counts;
      for (const int32_t token : request.prompt) counts[token] = {token, 0, true};
      for (const int32_t token : outcome.tokens) {
        counts[token].token = token;
        ++counts[token].output_count;
      }
      for (const auto& [token, count] : counts) sampling.counts.push_back(count);
    }
    const bool may_stop = static_cast<int32_t>(outcome.tokens.size()) >= request.min_tokens;
    if (!may_stop) {
      for (const int32_t token : stops)
        sampling.bias.push_back({token, -std::numeric_limits<float>::infinity()});
    }
    const int32_t token = fake_next_token(text, sampling, kVocab);
    if (may_stop && stops.contains(token)) {
      outcome.reason = FinishReason::kStop;
      break;
    }
    outcome.tokens.push_back(token);
    text.push_back(token);
  }
  return outcome;
}

struct Tracked {
  GenerationRequest request;
  std::vector<int32_t> tokens;
  std::vector<int32_t> prompt_rows;  // as reported
  std::vector<int32_t> prompt_targets;
  int ends = 0;
  GenerationEnd end;
  bool cancelled = false;
};

class World {
 public:
  explicit World(uint32_t seed)
      : seed_(seed),
        random_(seed),
        options_(draw_options()),
        ranks_(options_.kv_blocks, kVocab),
        scheduler_(options_) {}

  void run() {
    int quiet = 0;
    for (int64_t step = 0; arrivals_ < 40 || scheduler_.has_work(); ++step) {
      ASSERT_LT(step, 60000) << "no progress";
      for (uint32_t n = draw(3); n > 0 && arrivals_ < 40; --n) arrive();
      cancel_some();
      if (in_flight_.empty()) {
        auto planned = scheduler_.plan(step);
        if (!planned) {
          ASSERT_TRUE(!scheduler_.has_work() || ++quiet < 3) << "work, but nothing planned";
          continue;
        }
        launch(*std::move(planned));
      }
      if (in_flight_.size() == 1 && draw(8) != 0) look_ahead(in_flight_.front().step + 1);
      cancel_some();  // while steps run
      run_oldest();
      if (testing::Test::HasFatalFailure()) return;
    }
  }

  void check() {
    for (const auto& [id, tracked] : tracked_) {
      SCOPED_TRACE(testing::Message() << "sequence " << id);
      const Outcome expected = alone(tracked.request, scheduler_.max_model_len());
      if (tracked.cancelled) {
        EXPECT_EQ(tracked.ends, 0);
        ASSERT_LE(tracked.tokens.size(), expected.tokens.size());
        EXPECT_TRUE(
            std::equal(tracked.tokens.begin(), tracked.tokens.end(), expected.tokens.begin()));
        continue;
      }
      EXPECT_EQ(tracked.ends, 1);
      EXPECT_EQ(tracked.tokens, expected.tokens);
      EXPECT_EQ(tracked.end.reason, expected.reason);
      EXPECT_EQ(tracked.end.stop_token.has_value(), expected.reason == FinishReason::kStop);
      check_prompt(tracked);
    }
    for (int32_t rank = 0; rank < scheduler_.ranks(); ++rank) {
      EXPECT_EQ(scheduler_.ledger(rank).used(), 0);
      EXPECT_EQ(scheduler_.ledger(rank).available(), scheduler_.ledger(rank).blocks());
    }
  }

  int64_t ahead() const { return ahead_; }
  int64_t ahead_rows() const { return ranks_.ahead_rows(); }
  int64_t dropped_rows() const { return dropped_rows_; }
  int64_t preemptions() const { return preemptions_; }
  int64_t hits() const { return hits_; }
  int64_t moves() const { return ranks_.moves(); }
  size_t accepted() const { return tracked_.size(); }

 private:
  void launch(ScheduledStep step) {
    check_budgets(step.plan);
    preemptions_ += step.preemptions;
    for (const auto& admission : step.admissions) hits_ += admission.cached_tokens;
    in_flight_.push_back(std::move(step.plan));
  }

  void look_ahead(int64_t step) {
    auto planned = scheduler_.plan_ahead(step);
    if (!planned) return;
    EXPECT_TRUE(options_.pipeline);
    EXPECT_TRUE(in_flight_.front().may_be_followed);
    EXPECT_TRUE(planned->admissions.empty());
    EXPECT_TRUE(planned->plan.kv_moves.empty());
    EXPECT_EQ(planned->preemptions, 0);
    ++ahead_;
    launch(*std::move(planned));
    EXPECT_FALSE(scheduler_.plan(step + 1).has_value());
    EXPECT_FALSE(scheduler_.plan_ahead(step + 1).has_value()) << "two steps ahead";
  }

  void run_oldest() {
    for (const auto& chunk : in_flight_.front().chunks) {
      const Tracked& tracked = tracked_.at(chunk.sequence_id);
      const bool ahead = chunk.tokens.front() == protocol::kPreviousToken;
      if (ahead && (tracked.ends > 0 || tracked.cancelled)) ++dropped_rows_;
    }
    auto result = ranks_.run(in_flight_.front());
    in_flight_.pop_front();
    ASSERT_TRUE(ranks_.problems().empty()) << ranks_.problems().front();
    std::shuffle(result.sequences.begin(), result.sequences.end(), random_);
    auto events = scheduler_.apply(std::move(result));
    ASSERT_TRUE(events.ok()) << events.status();
    for (auto& event : *events) take(std::move(event));
  }

  uint32_t draw(uint32_t below) { return static_cast<uint32_t>(random_()) % below; }

  SchedulerOptions draw_options() {
    SchedulerOptions options;
    const uint32_t ranks = 1 + draw(3);
    for (uint32_t r = 0; r < ranks; ++r)
      options.kv_blocks.push_back(static_cast<int32_t>(4 + draw(14)));
    options.eos_ids = {kEos};
    options.max_model_len = static_cast<int32_t>(20 + draw(150));
    options.max_running = static_cast<int32_t>(1 + draw(8));
    constexpr int32_t kBudgets[] = {1, 3, 7, 16, 64, 300};
    options.max_step_tokens = kBudgets[draw(6)];
    options.max_rank_step_tokens = kBudgets[draw(6)];
    options.prefix_cache = draw(3) != 0;
    options.coherent = ranks > 1 && draw(2) == 0;
    options.match_homes = draw(2) == 0;
    if (draw(2) == 0) options.force_preempt_seed = random_();
    options.pipeline = draw(4) != 0;
    return options;
  }

  GenerationRequest draw_request() {
    GenerationRequest request;
    // Few distinct beginnings, so that prefixes are shared.
    const auto salt = static_cast<int32_t>(draw(2));
    const auto length = static_cast<int32_t>(1 + draw(90));
    for (int32_t i = 0; i < length; ++i) request.prompt.push_back((i * (salt + 3)) % kVocab);
    if (draw(2) == 0) request.prompt.back() = static_cast<int32_t>(draw(kVocab));
    request.max_tokens = static_cast<int32_t>(draw(40));
    request.min_tokens = draw(2) == 0 ? static_cast<int32_t>(draw(20)) : 0;
    request.ignore_eos = draw(4) == 0;
    if (draw(4) == 0) request.stop_token_ids = {7, kEos};
    request.priority = static_cast<int32_t>(draw(3)) - 1;
    request.sampling.seed = draw(4);
    // A client is in about half of the worlds all that there is.
    const uint32_t client = draw(2) * (seed_ % 2) * draw(4);
    request.client = std::string(client, 'c');
    request.client_weight = static_cast<int32_t>(1 + client);
    if (draw(16) == 0) request.probe = true;
    if (draw(4) == 0) request.sampling.presence_penalty = 1;
    if (draw(5) == 0) request.prompt_top_logprobs = 1;
    if (draw(6) == 0) request.want_logits = request.want_routing = true;
    return request;
  }

  void arrive() {
    ++arrivals_;
    const SequenceId id = next_id_++;
    GenerationRequest request = draw_request();
    const size_t needed = request.prompt.size() + (request.max_tokens > 0 ? 1 : 0);
    const absl::Status status = scheduler_.admit(journal_.open(id, request));
    EXPECT_EQ(status.ok(), needed <= static_cast<size_t>(scheduler_.max_model_len())) << status;
    if (!status.ok()) {
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
      journal_.close(id);
      return;
    }
    tracked_[id].request = std::move(request);
  }

  void cancel_some() {
    if (draw(12) != 0 || tracked_.empty()) return;
    const auto it = std::next(tracked_.begin(), draw(static_cast<uint32_t>(tracked_.size())));
    const bool open = it->second.ends == 0 && !it->second.cancelled;
    EXPECT_EQ(scheduler_.cancel(it->first), open);
    if (!open) return;
    it->second.cancelled = true;
    journal_.close(it->first);
  }

  void check_budgets(const protocol::StepPlan& plan) {
    std::map<int32_t, int32_t> rows;
    int32_t total = 0;
    for (const auto& chunk : plan.chunks) {
      rows[chunk.home_rank] += static_cast<int32_t>(chunk.tokens.size());
      total += static_cast<int32_t>(chunk.tokens.size());
      EXPECT_EQ(
          chunk.sampling.counts.empty(),
          !chunk.sample || tracked_[chunk.sequence_id].request.sampling.presence_penalty == 0);
    }
    EXPECT_LE(total, options_.max_step_tokens);
    for (const auto& [rank, count] : rows) EXPECT_LE(count, options_.max_rank_step_tokens);
    EXPECT_LE(static_cast<int32_t>(plan.chunks.size()), options_.max_running);
  }

  void take(SequenceEvent event) {
    Tracked& tracked = tracked_.at(event.id);
    EXPECT_FALSE(tracked.cancelled);
    EXPECT_EQ(tracked.ends, 0) << "an event after the end";
    if (auto* part = std::get_if<PromptPart>(&event.what)) {
      EXPECT_EQ(part->start, static_cast<int32_t>(tracked.prompt_rows.size()));
      EXPECT_TRUE(tracked.tokens.empty());
      for (int32_t row = 0; row < part->rows; ++row)
        tracked.prompt_rows.push_back(part->start + row);
      for (const auto& logprob : part->logprobs)
        tracked.prompt_targets.push_back(logprob.target.token);
      if (tracked.request.want_logits) {
        EXPECT_EQ(part->logits.size(), static_cast<size_t>(part->rows));
      }
    } else if (auto* token = std::get_if<GeneratedToken>(&event.what)) {
      EXPECT_EQ(token->logprob, -static_cast<float>(tracked.tokens.size())) << "sampling position";
      tracked.tokens.push_back(token->id);
    } else {
      ++tracked.ends;
      tracked.end = std::get<GenerationEnd>(event.what);
      journal_.close(event.id);
    }
  }

  void check_prompt(const Tracked& tracked) {
    const GenerationRequest& request = tracked.request;
    const bool reports = request.prompt_top_logprobs >= 0 || request.want_logits;
    EXPECT_EQ(tracked.prompt_rows.size(), reports ? request.prompt.size() : 0u);
    if (request.prompt_top_logprobs >= 0) {
      EXPECT_EQ(tracked.prompt_targets,
                std::vector<int32_t>(request.prompt.begin() + 1, request.prompt.end()));
    }
    if (reports) {
      EXPECT_EQ(tracked.end.cached_prompt_tokens, 0);
    }
  }

  uint32_t seed_;
  std::mt19937 random_;
  SchedulerOptions options_;
  FakeRanks ranks_;
  Journal journal_;
  Scheduler scheduler_;
  std::map<SequenceId, Tracked> tracked_;
  SequenceId next_id_ = 1;
  int arrivals_ = 0;
  std::deque<protocol::StepPlan> in_flight_;
  int64_t ahead_ = 0, dropped_rows_ = 0;
  int64_t preemptions_ = 0;
  int64_t hits_ = 0;
};

TEST(SchedulerProperty, EveryRequestGetsTheTokensThatItWouldGetAlone) {
  int64_t preemptions = 0, hits = 0, moves = 0, ahead = 0, ahead_rows = 0, dropped = 0;
  size_t accepted = 0;
  for (uint32_t seed = 0; seed < 400; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    World world(seed);
    world.run();
    if (HasFatalFailure()) return;
    world.check();
    if (HasFailure()) return;
    preemptions += world.preemptions();
    hits += world.hits();
    moves += world.moves();
    ahead += world.ahead();
    ahead_rows += world.ahead_rows();
    dropped += world.dropped_rows();
    accepted += world.accepted();
  }
  // The draw must reach what it is here to test.
  EXPECT_GT(moves, 100);
  EXPECT_GT(ahead, 2000);
  EXPECT_GT(ahead_rows, 5000);
  EXPECT_GT(dropped, 100);
  EXPECT_GT(preemptions, 300);
  EXPECT_GT(hits, 5000);
  EXPECT_GT(accepted, 5000u);
}

}  // namespace
}  // namespace conclave::coordinator
