#include "bench/engine_bench.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <random>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace conclave::bench {
namespace {

using coordinator::GenerationEnd;
using coordinator::GenerationRequest;

struct Gate {
  std::mutex mutex;
  std::condition_variable changed;
  int32_t ended = 0;
  absl::Status error;
};

class EndListener : public coordinator::GenerationListener {
 public:
  explicit EndListener(std::shared_ptr<Gate> gate) : gate_(std::move(gate)) {}
  void on_token(coordinator::GeneratedToken) override {}
  void on_end(GenerationEnd end) override {
    std::lock_guard lock(gate_->mutex);
    ++gate_->ended;
    if (!end.error.ok()) gate_->error = end.error;
    gate_->changed.notify_all();
  }

 private:
  std::shared_ptr<Gate> gate_;
};

GenerationRequest random_request(std::mt19937_64& random, int32_t vocab, int32_t prompt, int32_t output) {
  GenerationRequest request;
  request.request_id = "bench";
  request.max_tokens = output;
  request.ignore_eos = true;
  for (int32_t i = 0; i < prompt; ++i) {
    request.prompt.push_back(static_cast<int32_t>(random() % static_cast<uint64_t>(vocab)));
  }
  return request;
}

absl::Status run_together(coordinator::Engine& engine, std::vector<GenerationRequest> requests) {
  auto gate = std::make_shared<Gate>();
  int32_t accepted = 0;
  absl::Status status;
  for (GenerationRequest& request : requests) {
    status = engine.submit(std::move(request), std::make_shared<EndListener>(gate)).status();
    if (!status.ok()) break;
    ++accepted;
  }
  std::unique_lock lock(gate->mutex);
  // The step deadline ends a stuck group long before (law 4).
  constexpr std::chrono::minutes kLongestRun{60};
  if (!gate->changed.wait_for(lock, kLongestRun, [&] { return gate->ended == accepted; })) {
    return absl::DeadlineExceededError(
        absl::StrCat(accepted - gate->ended, " of ", accepted, " requests were not answered within ", kLongestRun.count(),
                     " minutes; measure fewer tokens or a smaller shape"));
  }
  RETURN_IF_ERROR(status);
  return gate->error;
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::nth_element(values.begin(), values.begin() + static_cast<int64_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

void fill_exchange(const std::vector<StepRecord>& steps, Phase* phase) {
  std::vector<double> compute, ranks, total, exposed, bytes;
  for (const StepRecord& step : steps) {
    compute.push_back(step.compute_seconds);
    ranks.push_back(step.rank_seconds);
    total.push_back(step.exchange_seconds);
    exposed.push_back(step.exchange_exposed_seconds);
    bytes.push_back(static_cast<double>(step.bytes_sent));
  }
  phase->compute_ms = 1e3 * median(compute);
  phase->ranks_ms = 1e3 * median(ranks);
  phase->exchange_ms = 1e3 * median(total);
  phase->exchange_exposed_ms = 1e3 * median(exposed);
  phase->exchange_bytes = median(bytes);
}

int64_t attention_parameters(const model::ModelSpec& spec) {
  const int64_t q = int64_t{spec.heads} * spec.head_dim, kv = int64_t{spec.kv_heads} * spec.head_dim;
  return int64_t{spec.hidden} * (q + 2 * kv) + q * spec.hidden;
}

}  // namespace

void StepRecorder::step_finished(double seconds, std::span<const protocol::RankTiming> ranks) {
  StepRecord record;
  record.finished = std::chrono::steady_clock::now();
  record.seconds = seconds;
  for (const protocol::RankTiming& rank : ranks) {
    record.tokens += rank.tokens;
    record.bytes_sent += rank.bytes_sent;
    record.compute_seconds = std::max(record.compute_seconds, rank.compute_seconds);
    record.rank_seconds =
        std::max(record.rank_seconds, rank.compute_seconds + rank.exchange_exposed_seconds);
    record.exchange_seconds = std::max(record.exchange_seconds, rank.exchange_seconds);
    record.exchange_exposed_seconds = std::max(record.exchange_exposed_seconds, rank.exchange_exposed_seconds);
  }
  std::lock_guard lock(mutex_);
  steps_.push_back(record);
  if (on_step_) on_step_();
}

void StepRecorder::watch(std::function<void()> on_step) {
  std::lock_guard lock(mutex_);
  on_step_ = std::move(on_step);
}

std::vector<StepRecord> StepRecorder::take() {
  std::lock_guard lock(mutex_);
  return std::exchange(steps_, {});
}

double decode_bytes(const model::ModelSpec& spec, ComputeType compute, int32_t batch, int32_t context) {
  const double element = static_cast<double>(dtype_bytes(compute == ComputeType::kBF16 ? DType::kBF16 : spec.weight_dtype));
  double parameters = static_cast<double>(spec.vocab) * spec.hidden;  // the head
  for (const model::LayerSpec& layer : spec.layer) {
    parameters += static_cast<double>(attention_parameters(spec));
    if (!layer.moe) {
      parameters += 3.0 * spec.hidden * spec.dense_width;
      continue;
    }
    const double experts = spec.experts;
    const double touched = experts * (1.0 - std::pow(1.0 - spec.top_k / experts, batch));
    parameters += static_cast<double>(spec.experts) * spec.hidden + 3.0 * spec.hidden * spec.shared_expert_width;
    parameters += touched * 3.0 * spec.hidden * spec.expert_width;
  }
  return parameters * element + static_cast<double>(batch) * context * static_cast<double>(spec.kv_bytes_per_token(compute));
}

double prefill_flops(const model::ModelSpec& spec, int32_t tokens, int32_t sequences) {
  const double t = tokens;
  double flops = 2.0 * spec.vocab * spec.hidden;
  for (const model::LayerSpec& layer : spec.layer) {
    const double mlp = layer.moe ? spec.top_k * 3.0 * spec.hidden * spec.expert_width +
                                       static_cast<double>(spec.experts) * spec.hidden +
                                       3.0 * spec.hidden * spec.shared_expert_width
                                 : 3.0 * spec.hidden * spec.dense_width;
    flops += 2.0 * t * (static_cast<double>(attention_parameters(spec)) + mlp);
    // Query i sees min(i + 1, window) keys.
    const double window = layer.sliding_window > 0 ? std::min<double>(layer.sliding_window, t) : t;
    const double pairs = window * t - window * (window - 1) / 2;
    flops += 4.0 * spec.heads * spec.head_dim * pairs;
  }
  return flops * sequences;
}

absl::StatusOr<Phase> bench_decode(coordinator::Engine& engine, StepRecorder& recorder, const model::ModelSpec& spec,
                                   ComputeType compute, const EngineBenchOptions& o) {
  std::mt19937_64 random(o.seed);
  Phase best;
  for (int32_t repeat = 0; repeat < o.repeats; ++repeat) {
    recorder.take();
    std::vector<GenerationRequest> requests;
    for (int32_t i = 0; i < o.batch; ++i) {
      requests.push_back(random_request(random, spec.vocab, o.prompt_tokens, o.decode_tokens + 8));
    }
    RETURN_IF_ERROR(run_together(engine, std::move(requests)));
    std::vector<StepRecord> decode;
    for (const StepRecord& step : recorder.take()) {
      if (step.tokens == o.batch) decode.push_back(step);
    }
    if (decode.size() < 8) {
      return absl::InternalError(absl::StrCat("only ", decode.size(), " steps decoded all ", o.batch, " sequences together"));
    }
    decode.erase(decode.begin(), decode.begin() + 2);
    const double seconds = std::chrono::duration<double>(decode.back().finished - decode.front().finished).count();
    Phase phase;
    phase.seconds_per_step = seconds / static_cast<double>(decode.size() - 1);
    phase.tokens_per_second = o.batch / phase.seconds_per_step;
    phase.bytes_per_step = decode_bytes(spec, compute, o.batch, o.prompt_tokens + o.decode_tokens / 2);
    fill_exchange(decode, &phase);
    if (repeat == 0 || phase.tokens_per_second > best.tokens_per_second) best = phase;
  }
  return best;
}

absl::StatusOr<Phase> bench_prefill(coordinator::Engine& engine, StepRecorder& recorder, const model::ModelSpec& spec,
                                    const EngineBenchOptions& o) {
  std::mt19937_64 random(o.seed + 1);
  const int64_t rows = int64_t{o.prefill_tokens} * o.prefill_sequences;
  Phase best;
  std::vector<StepRecord> steps;
  for (int32_t repeat = 0; repeat < o.repeats; ++repeat) {
    recorder.take();
    std::vector<GenerationRequest> requests;
    // While this short one runs the others queue up, and so share one step.
    if (o.prefill_sequences > 1) requests.push_back(random_request(random, spec.vocab, 8, 1));
    for (int32_t i = 0; i < o.prefill_sequences; ++i) {
      requests.push_back(random_request(random, spec.vocab, o.prefill_tokens, 1));
    }
    RETURN_IF_ERROR(run_together(engine, std::move(requests)));
    for (const StepRecord& step : recorder.take()) {
      if (step.tokens != rows) continue;
      steps.push_back(step);
      if (best.seconds_per_step == 0 || step.seconds < best.seconds_per_step) best.seconds_per_step = step.seconds;
    }
  }
  if (steps.empty()) {
    return absl::InternalError(absl::StrCat("no step took all ", rows, " prompt tokens; raise --max-step-tokens"));
  }
  best.tokens_per_second = static_cast<double>(rows) / best.seconds_per_step;
  best.flops_per_step = prefill_flops(spec, o.prefill_tokens, o.prefill_sequences);
  fill_exchange(steps, &best);
  return best;
}

}  // namespace conclave::bench
