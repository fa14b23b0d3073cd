#include "cli/offline_engine.h"

#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "cli/end_of_text.h"
#include "cli/group_launcher.h"
#include "cli/progress_bar.h"

namespace conclave::cli {
namespace {

using coordinator::GeneratedToken;
using coordinator::GenerationEnd;
using coordinator::GroupState;

using Clock = std::chrono::steady_clock;

// The step deadline ends a stuck group long before; this is what is left to catch (law 4).
constexpr std::chrono::seconds kLongestSilence{120};

// Counts requests in flight and wakes the waiting command.
struct Gate {
  std::mutex mutex;
  std::condition_variable changed;
  size_t ended = 0;
  Clock::time_point last_sign = Clock::now();  // of life: a prompt part, a token, an end

  void sign() {
    std::lock_guard lock(mutex);
    last_sign = Clock::now();
  }
  // Waits under `lock` until enough(ended); false after kLongestSilence without a sign.
  template <typename Enough>
  bool wait(std::unique_lock<std::mutex>& lock, Enough enough) {
    while (!enough(ended)) {
      const Clock::time_point until = last_sign + kLongestSilence;
      if (changed.wait_until(lock, until) == std::cv_status::timeout && !enough(ended) && Clock::now() >= last_sign + kLongestSilence) {
        return false;
      }
    }
    return true;
  }
};

class Collector : public coordinator::GenerationListener {
 public:
  Collector(std::shared_ptr<Gate> gate, std::function<void(const GeneratedToken&)> on_token)
      : gate_(std::move(gate)), on_token_(std::move(on_token)) {}
  void on_prompt(coordinator::PromptPart part) override {
    gate_->sign();
    result_.prompt.push_back(std::move(part));
  }
  void on_token(GeneratedToken token) override {
    gate_->sign();
    if (on_token_) on_token_(token);
    result_.tokens.push_back(std::move(token));
  }
  void on_end(GenerationEnd end) override {
    std::lock_guard lock(gate_->mutex);
    result_.end = std::move(end);
    ++gate_->ended;
    gate_->last_sign = Clock::now();
    gate_->changed.notify_all();
  }
  Generation take() { return std::move(result_); }

 private:
  std::shared_ptr<Gate> gate_;
  std::function<void(const GeneratedToken&)> on_token_;
  Generation result_;
};

void loaded_bytes(const coordinator::EngineStatus& status, uint64_t* done, uint64_t* total) {
  *done = *total = 0;
  for (const coordinator::RankStatus& rank : status.ranks) {
    *done += rank.load_bytes_done;
    *total += rank.load_bytes_total;
  }
}

// Where the ranks were when nothing came any more.
absl::Status silence(const coordinator::EngineStatus& status) {
  std::string where;
  for (const coordinator::RankStatus& rank : status.ranks) {
    absl::StrAppend(&where, where.empty() ? "" : "; ", "rank ", rank.rank, " on ", rank.host, " in ", rank.operation,
                    " of layer ", rank.layer, " for ", rank.operation_age_seconds, " s");
  }
  return absl::DeadlineExceededError(absl::StrCat("no token, no result and no error for ", kLongestSilence.count(), " s (",
                                                  where.empty() ? "no rank has reported" : where, ")"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<OfflineEngine>> OfflineEngine::start(GroupOptions options, bool progress,
                                                                    coordinator::EngineObserver* observer) {
  RETURN_IF_ERROR(prepare(&options));
  ASSIGN_OR_RETURN(model::ModelDescription description, read_model(options.model));
  return launch(std::move(options), std::move(description), "", progress, observer);
}

absl::StatusOr<std::unique_ptr<OfflineEngine>> OfflineEngine::start_shape(GroupOptions options,
                                                                          const std::string& shape_json,
                                                                          const std::string& source, bool progress,
                                                                          coordinator::EngineObserver* observer) {
  RETURN_IF_ERROR(prepare(&options));
  model::ModelDescription description;
  ASSIGN_OR_RETURN(description.spec, model::parse_shape(shape_json, source));
  return launch(std::move(options), std::move(description), shape_json, progress, observer);
}

absl::StatusOr<std::unique_ptr<OfflineEngine>> OfflineEngine::launch(GroupOptions options,
                                                                     model::ModelDescription description,
                                                                     const std::string& shape_json, bool progress,
                                                                     coordinator::EngineObserver* observer) {
  std::shared_ptr<const coordinator::Tokenizer> tokenizer;
  if (std::string note; shape_json.empty()) {
    tokenizer = tokenizer_if_readable(options.model, &note);
    if (!note.empty()) log_warning(note);
  }
  ASSIGN_OR_RETURN(coordinator::EngineOptions engine_options,
                   make_engine_options(options, description.spec, tokenizer.get()));
  engine_options.configure.dummy_shape_json = shape_json;
  engine_options.configure.dummy_seed = 1;
  engine_options.restart = false;  // a command that fails says so and ends
  engine_options.observer = observer;
  ASSIGN_OR_RETURN(std::unique_ptr<coordinator::GroupTransport> transport, make_offline_transport(options));
  std::unique_ptr<OfflineEngine> offline(new OfflineEngine());
  offline->description_ = std::move(description);
  ASSIGN_OR_RETURN(offline->engine_, coordinator::create_engine(std::move(engine_options), std::move(transport)));
  RETURN_IF_ERROR(offline->wait_until_ready(progress));
  return offline;
}

OfflineEngine::~OfflineEngine() = default;

absl::Status OfflineEngine::wait_until_ready(bool progress) {
  ProgressBar bar("loading weights", progress);
  uint64_t last_done = 0;
  Clock::time_point last_sign = Clock::now();
  for (;;) {
    const coordinator::EngineStatus status = engine_->status();
    uint64_t done = 0, total = 0;
    loaded_bytes(status, &done, &total);
    if (std::exchange(last_done, done) != done) last_sign = Clock::now();
    if (Clock::now() - last_sign > kLongestSilence) return silence(status);
    bar.update(done, total, /*bytes=*/true);
    if (status.state == GroupState::kReady) return absl::OkStatus();
    if (status.state == GroupState::kFailed || status.state == GroupState::kStopped) {
      const std::string why = status.last_failure.empty() ? "the worker group did not start" : status.last_failure;
      const bool refused = status.start_failure == coordinator::EngineStatus::StartFailure::kRefused;
      return refused ? absl::InvalidArgumentError(why) : absl::AbortedError(why);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

absl::StatusOr<Generation> OfflineEngine::run(coordinator::GenerationRequest request,
                                              std::function<void(const GeneratedToken&)> on_token) {
  auto gate = std::make_shared<Gate>();
  auto collector = std::make_shared<Collector>(gate, std::move(on_token));
  RETURN_IF_ERROR(engine_->submit(std::move(request), collector).status());
  std::unique_lock lock(gate->mutex);
  if (!gate->wait(lock, [](size_t ended) { return ended == 1; })) return silence(engine_->status());
  Generation generation = collector->take();
  RETURN_IF_ERROR(generation.end.error);
  return generation;
}

absl::StatusOr<std::vector<Generation>> OfflineEngine::run_all(std::vector<coordinator::GenerationRequest> requests,
                                                               int in_flight, std::function<void(size_t)> on_done) {
  auto gate = std::make_shared<Gate>();
  std::vector<std::shared_ptr<Collector>> collectors;
  absl::Status failure;
  for (size_t i = 0; i < requests.size() && failure.ok(); ++i) {
    {
      std::unique_lock lock(gate->mutex);
      if (!gate->wait(lock, [&](size_t ended) { return i - ended < static_cast<size_t>(in_flight); })) {
        return silence(engine_->status());
      }
      if (on_done) on_done(gate->ended);
    }
    auto collector = std::make_shared<Collector>(gate, nullptr);
    failure = engine_->submit(std::move(requests[i]), collector).status();
    if (failure.ok()) collectors.push_back(std::move(collector));
  }
  std::vector<Generation> results;
  for (size_t waited = 0; waited <= collectors.size(); ++waited) {
    std::unique_lock lock(gate->mutex);
    if (!gate->wait(lock, [&](size_t ended) { return ended >= waited; })) return silence(engine_->status());
    if (on_done) on_done(gate->ended);
  }
  RETURN_IF_ERROR(failure);
  for (const auto& collector : collectors) {
    results.push_back(collector->take());
    RETURN_IF_ERROR(results.back().end.error);
  }
  return results;
}

}  // namespace conclave::cli
