#include "coordinator/openai/ready_probe.h"

#include <string>
#include <utility>

#include "coordinator/engine/readiness.h"
#include "coordinator/http/json_text.h"
#include "coordinator/openai/status_error.h"

namespace conclave::coordinator {
namespace {

constexpr int32_t kCanaryPriority = -1'000'000'000;  // before any client's request

int64_t now_ns() {
  return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void append_since(std::string* out, double since) {
  out->append("\"since\":");
  append_json_string(out, utc_text(since));
}

void respond_ready(HttpResponder& responder, const EngineStatus& engine) {
  std::string body = "{\"ready\":true,\"status\":\"ready\",";
  append_since(&body, engine.since);
  respond_json(responder, 200, body + "}");
}

// What any error says, and for whoever looks at readiness alone: why and since when.
void respond_not_ready(HttpResponder& responder, const ApiError& error, const std::string& reason, double since) {
  std::string body = "{\"ready\":false,\"reason\":";
  append_json_string(&body, reason);
  body.push_back(',');
  append_since(&body, since);
  body.push_back(',');
  body.append(error_json(error), 1);
  HttpHeaders headers = error.headers;
  headers.push_back({"Content-Type", "application/json"});
  if (error.retry_after_seconds > 0) headers.push_back({"Retry-After", std::to_string(error.retry_after_seconds)});
  responder.respond(error.status, std::move(headers), std::move(body));
}

void respond_not_ready(HttpResponder& responder, const EngineStatus& engine) {
  const Readiness why = readiness(engine);
  ApiError error = not_ready_error(engine);
  error.message = why.reason;
  respond_not_ready(responder, error, why.reason, why.since);
}

ApiError no_token_error(std::chrono::milliseconds timeout) {
  ApiError error;
  error.status = 503;
  error.type = "server_error";
  error.code = "timeout";
  error.message =
      "The canary token did not arrive within " + std::to_string(timeout.count()) + " ms.";
  error.retry_after_seconds = 1;
  return error;
}

}  // namespace

class ReadyProbe::Canary : public GenerationListener {
 public:
  explicit Canary(std::shared_ptr<ReadyProbe> probe) : probe_(std::move(probe)) {}
  void on_token(GeneratedToken) override { token_seen_ = true; }
  void on_end(GenerationEnd end) override {
    absl::Status status = std::move(end.error);
    if (status.ok() && !token_seen_ && end.reason != FinishReason::kStop) {
      status = absl::UnavailableError("the canary request ended without a token");
    }
    probe_->canary_ended(status);
  }

 private:
  const std::shared_ptr<ReadyProbe> probe_;
  bool token_seen_ = false;
};

ReadyProbe::ReadyProbe(Engine& engine, ReadyProbeOptions options,
                       std::shared_ptr<std::atomic<int64_t>> last_token_ns)
    : engine_(engine), options_(std::move(options)), last_token_ns_(std::move(last_token_ns)) {}

bool ReadyProbe::proven_recently() const {
  const int64_t last = last_token_ns_->load(std::memory_order_relaxed);
  return last != 0 && now_ns() - last < std::chrono::nanoseconds(options_.fresh_for).count();
}

void ReadyProbe::check(std::shared_ptr<HttpResponder> responder) {
  const EngineStatus status = engine_.status();
  if (!readiness(status).ready) return respond_not_ready(*responder, status);
  if (proven_recently()) return respond_ready(*responder, status);
  bool submit = false;
  int64_t round = 0;
  {
    std::lock_guard lock(mutex_);
    waiting_.push_back(responder);
    submit = !in_flight_;
    if (submit) ++round_;
    in_flight_ = true;
    round = round_;
  }
  responder->post_after(options_.timeout, [weak = weak_from_this(), round] {
    if (const auto probe = weak.lock()) probe->give_up(round);
  });
  if (submit) submit_canary();
}

void ReadyProbe::submit_canary() {
  GenerationRequest request;
  request.request_id = "ready-canary";
  request.prompt = options_.canary_prompt;
  request.max_tokens = 1;
  request.ignore_eos = true;
  request.priority = kCanaryPriority;  // a long queue is no reason to look dead
  request.probe = true;
  auto id = engine_.submit(std::move(request), std::make_shared<Canary>(shared_from_this()));
  if (!id.ok()) canary_ended(id.status());
}

void ReadyProbe::canary_ended(const absl::Status& status) {
  std::vector<std::shared_ptr<HttpResponder>> waiting;
  {
    std::lock_guard lock(mutex_);
    in_flight_ = false;
    waiting.swap(waiting_);
    note_outcome(status.ok());
  }
  if (status.ok()) last_token_ns_->store(now_ns(), std::memory_order_relaxed);
  const EngineStatus engine = waiting.empty() ? EngineStatus() : engine_.status();
  for (const auto& responder : waiting) {
    if (!readiness(engine).ready) {
      respond_not_ready(*responder, engine);
    } else if (!status.ok()) {
      const ApiError error = api_error_of(status, engine);
      respond_not_ready(*responder, error, error.message, failing_since());
    } else {
      respond_ready(*responder, engine);
    }
  }
}

// The canary stays in flight: while it hangs, no other is sent, and every caller waits its
// time-out.
void ReadyProbe::give_up(int64_t round) {
  std::vector<std::shared_ptr<HttpResponder>> waiting;
  {
    std::lock_guard lock(mutex_);
    if (!in_flight_ || round != round_) return;
    waiting.swap(waiting_);
    note_outcome(false);
  }
  const ApiError error = no_token_error(options_.timeout);
  for (const auto& responder : waiting) respond_not_ready(*responder, error, error.message, failing_since());
}

void ReadyProbe::note_outcome(bool good) {
  if (good) failing_since_ = 0;
  if (!good && failing_since_ == 0) failing_since_ = unix_time();
}

double ReadyProbe::failing_since() {
  std::lock_guard lock(mutex_);
  return failing_since_;
}

}  // namespace conclave::coordinator
