#ifndef CONCLAVE_COORDINATOR_OPENAI_GENERATION_SESSION_H_
#define CONCLAVE_COORDINATOR_OPENAI_GENERATION_SESSION_H_

// One HTTP request that generates text: submits its choices to the engine and turns what comes back
// into one response or an event stream. The engine's thread only queues; everything else happens on
// the connection's strand, all tokens that are there at once in one write.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <variant>
#include <vector>

#include "coordinator/engine/engine.h"
#include "coordinator/http/http_message.h"
#include "coordinator/openai/answer_body.h"
#include "coordinator/openai/choice.h"
#include "coordinator/openai/response_format.h"

namespace conclave::coordinator {

struct SessionTiming {
  // A stream's header waits for the first token, so that a failure before it is still a plain 503,
  // which clients retry; no longer than this, though.
  std::chrono::milliseconds max_header_delay{10000};
  std::chrono::milliseconds ping_period{15000};
};

struct SessionPlan {
  ResponseIdentity identity;
  ChoiceOptions choice;
  bool stream = false;
  bool include_usage = false;
  int32_t choices_per_prompt = 1;
  std::vector<GenerationRequest>
      requests;  // [prompts * choices_per_prompt], by prompt, then choice
  SessionTiming timing;
};

class GenerationSession : public std::enable_shared_from_this<GenerationSession> {
 public:
  // engine outlives the session. last_token_ns: written (steady clock) when tokens arrive.
  GenerationSession(SessionPlan plan, Engine& engine, std::shared_ptr<const Tokenizer> tokenizer,
                    std::shared_ptr<std::atomic<int64_t>> last_token_ns,
                    std::shared_ptr<HttpResponder> responder);

  // On the strand, once.
  void start();

 private:
  using Event = std::variant<PromptPart, GeneratedToken, GenerationEnd>;
  struct QueuedEvent {
    size_t choice;
    Event event;
  };
  class Listener;

  void enqueue(size_t choice, Event event);  // engine's thread
  bool must_wake(const Event& event, size_t queued) const;
  void drain();
  void handle(size_t index, PromptPart part);
  void handle(size_t index, GeneratedToken token);
  void handle(size_t index, GenerationEnd end);
  void emit(size_t index, const ChoiceOutput& output);
  void emit_echo(size_t index);
  void begin_stream();
  void begin_stream_late();
  void finish_text(size_t index);
  void complete();
  void respond_whole();
  void fail(const absl::Status& status);
  void flush();
  void cancel_all();
  Usage usage() const;

  SessionPlan plan_;
  Engine& engine_;
  const std::shared_ptr<const Tokenizer> tokenizer_;
  const std::shared_ptr<std::atomic<int64_t>> last_token_ns_;
  const std::shared_ptr<HttpResponder> responder_;
  const StreamFormat format_;

  // Strand only.
  std::vector<Choice> choices_;
  std::vector<FinishedChoice> finished_;  // not streaming: what there is so far
  size_t open_choices_ = 0;
  bool stream_begun_ = false;
  bool done_ = false;
  std::string out_;

  std::mutex mutex_;
  std::vector<QueuedEvent> queue_;
  bool drain_posted_ = false;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_OPENAI_GENERATION_SESSION_H_
