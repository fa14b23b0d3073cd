#include "coordinator/openai/generation_session.h"

#include <utility>

#include "coordinator/http/error_response.h"
#include "coordinator/openai/status_error.h"

namespace conclave::coordinator {
namespace {

// Tokens of an answer that is not streamed wait here until there are so many.
constexpr size_t kMaxQueuedEvents = 256;
// A whole answer of up to this is sent as one text, with its length; longer ones in pieces.
constexpr size_t kWholeBytes = size_t{256} << 10;
constexpr size_t kPieceBytes = size_t{64} << 10;

}  // namespace

class GenerationSession::Listener : public GenerationListener {
 public:
  Listener(std::shared_ptr<GenerationSession> session, size_t choice, bool wants_prompt)
      : session_(std::move(session)), choice_(choice), wants_prompt_(wants_prompt) {}
  void on_prompt(PromptPart part) override {
    if (wants_prompt_) session_->enqueue(choice_, std::move(part));
  }
  void on_token(GeneratedToken token) override { session_->enqueue(choice_, std::move(token)); }
  void on_end(GenerationEnd end) override { session_->enqueue(choice_, std::move(end)); }

 private:
  const std::shared_ptr<GenerationSession> session_;
  const size_t choice_;
  const bool wants_prompt_;
};

GenerationSession::GenerationSession(SessionPlan plan, Engine& engine,
                                     std::shared_ptr<const Tokenizer> tokenizer,
                                     std::shared_ptr<std::atomic<int64_t>> last_token_ns,
                                     std::shared_ptr<HttpResponder> responder)
    : plan_(std::move(plan)),
      engine_(engine),
      tokenizer_(std::move(tokenizer)),
      last_token_ns_(std::move(last_token_ns)),
      responder_(std::move(responder)),
      format_(plan_.identity, plan_.include_usage) {
  choices_.reserve(plan_.requests.size());
  for (const GenerationRequest& request : plan_.requests)
    choices_.emplace_back(tokenizer_, plan_.choice, request.prompt);
  finished_.resize(choices_.size());
  open_choices_ = choices_.size();
}

void GenerationSession::start() {
  for (size_t i = 0; i < choices_.size(); ++i) {
    const bool wants_prompt = plan_.requests[i].prompt_top_logprobs >= 0;
    auto id = engine_.submit(std::move(plan_.requests[i]),
                             std::make_shared<Listener>(shared_from_this(), i, wants_prompt));
    if (!id.ok()) return fail(id.status());
    choices_[i].sequence = *id;
    choices_[i].submitted = true;
  }
  plan_.requests.clear();
  responder_->on_disconnect([weak = weak_from_this()] {
    if (const auto session = weak.lock()) session->cancel_all();
  });
  if (!plan_.stream) return;
  responder_->post_after(plan_.timing.max_header_delay, [weak = weak_from_this()] {
    if (const auto session = weak.lock()) session->begin_stream_late();
  });
}

bool GenerationSession::must_wake(const Event& event, size_t queued) const {
  return plan_.stream || queued >= kMaxQueuedEvents || !plan_.choice.text.stop.empty() ||
         std::holds_alternative<GenerationEnd>(event);
}

void GenerationSession::enqueue(size_t choice, Event event) {
  if (std::holds_alternative<GeneratedToken>(event)) {
    // Also of answers that are not streamed: it is what /ready goes by.
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    last_token_ns_->store(std::chrono::nanoseconds(now).count(), std::memory_order_relaxed);
  }
  {
    std::lock_guard lock(mutex_);
    const bool wake = must_wake(event, queue_.size());
    queue_.push_back({choice, std::move(event)});
    if (!wake || drain_posted_) return;
    drain_posted_ = true;
  }
  responder_->post([self = shared_from_this()] { self->drain(); });
}

void GenerationSession::drain() {
  std::vector<QueuedEvent> events;
  {
    std::lock_guard lock(mutex_);
    events.swap(queue_);
    drain_posted_ = false;
  }
  for (QueuedEvent& queued : events) {
    if (done_) return;
    std::visit([this, &queued](auto& event) { handle(queued.choice, std::move(event)); },
               queued.event);
  }
  flush();
}

void GenerationSession::handle(size_t index, PromptPart part) {
  choices_[index].add_prompt_part(std::move(part));
}

void GenerationSession::handle(size_t index, GeneratedToken token) {
  Choice& choice = choices_[index];
  if (choice.text_ended()) return;
  emit_echo(index);
  ChoiceOutput output;
  const bool stopped = choice.add_token(std::move(token), &output);
  emit(index, output);
  if (!stopped) return;
  finish_text(index);
  engine_.cancel(choice.sequence);
}

void GenerationSession::handle(size_t index, GenerationEnd end) {
  Choice& choice = choices_[index];
  if (choice.ended()) return;
  const bool failed = end.reason == FinishReason::kError || end.reason == FinishReason::kCancelled;
  if (failed && !choice.text_ended()) {
    return fail(end.error.ok() ? absl::CancelledError("the server cancelled the request")
                               : end.error);
  }
  const bool ends_text = !choice.text_ended();
  if (ends_text) emit_echo(index);
  ChoiceOutput output;
  choice.finish(end, &output);
  emit(index, output);
  if (ends_text) finish_text(index);
  choice.set_ended();
  if (--open_choices_ == 0) complete();
}

void GenerationSession::emit_echo(size_t index) {
  if (plan_.stream) begin_stream();
  if (!choices_[index].echoed) emit(index, choices_[index].echo());
}

void GenerationSession::emit(size_t index, const ChoiceOutput& output) {
  if (output.empty()) return;
  if (plan_.stream) {
    format_.append_text(&out_, static_cast<int32_t>(index), output.text,
                        choices_[index].logprobs_json(output.entries));
    return;
  }
  finished_[index].text.append(output.text);
  finished_[index].logprobs.append(output.entries);
}

void GenerationSession::finish_text(size_t index) {
  const std::string_view reason = choices_[index].finish_reason();
  finished_[index].finish_reason = reason;
  if (plan_.stream) format_.append_finish(&out_, static_cast<int32_t>(index), reason);
}

void GenerationSession::begin_stream() {
  if (stream_begun_) return;
  stream_begun_ = true;
  responder_->begin_stream(
      200, {{"Content-Type", "text/event-stream; charset=utf-8"}, {"Cache-Control", "no-cache"}},
      {": ping\n\n", plan_.timing.ping_period});
  if (!plan_.identity.chat) return;
  for (size_t i = 0; i < choices_.size(); ++i) format_.append_role(&out_, static_cast<int32_t>(i));
}

void GenerationSession::begin_stream_late() {
  if (done_) return;
  begin_stream();
  flush();
}

void GenerationSession::complete() {
  done_ = true;
  if (plan_.stream) {
    format_.append_usage(&out_, usage());
    StreamFormat::append_done(&out_);
    flush();
    return responder_->finish();
  }
  respond_whole();
}

void GenerationSession::respond_whole() {
  LogprobsWish logprobs;
  if (plan_.choice.top_logprobs >= 0)
    logprobs = {tokenizer_, plan_.choice.top_logprobs, plan_.choice.tokens_as_ids};
  auto body = std::make_shared<AnswerBody>(plan_.identity, std::move(finished_), usage(),
                                           std::move(logprobs));
  std::string first;
  if (!body->next(&first, kWholeBytes)) return respond_json(*responder_, 200, std::move(first));
  responder_->respond_from(
      200, {{"Content-Type", "application/json"}},
      [body, first = std::move(first)](std::string* piece) mutable {
        if (first.empty()) return body->next(piece, kPieceBytes);
        piece->append(std::exchange(first, {}));
        return true;
      });
}

void GenerationSession::fail(const absl::Status& status) {
  const ApiError error = api_error_of(status, engine_.status());
  cancel_all();
  if (!stream_begun_) return respond_error(*responder_, error);
  StreamFormat::append_error(&out_, error);
  StreamFormat::append_done(&out_);
  flush();
  responder_->finish();
}

void GenerationSession::cancel_all() {
  if (done_) return;
  done_ = true;
  for (const Choice& choice : choices_) {
    if (choice.submitted && !choice.ended()) engine_.cancel(choice.sequence);
  }
}

void GenerationSession::flush() {
  if (out_.empty()) return;
  responder_->write(std::exchange(out_, {}));
}

Usage GenerationSession::usage() const {
  Usage usage;
  for (size_t i = 0; i < choices_.size(); ++i) {
    usage.completion_tokens += choices_[i].completion_tokens();
    // The choices of one prompt share it; the first says what was cached before they came.
    if (i % static_cast<size_t>(plan_.choices_per_prompt) != 0) continue;
    usage.prompt_tokens += static_cast<int64_t>(choices_[i].prompt().size());
    usage.cached_tokens += choices_[i].cached_prompt_tokens();
  }
  return usage;
}

}  // namespace conclave::coordinator
