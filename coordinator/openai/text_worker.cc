#include "coordinator/openai/text_worker.h"

#include <exception>
#include <utility>

#include "base/log.h"

namespace conclave::coordinator {
namespace {

ApiError too_many() {
  ApiError error;
  error.status = 429;
  error.type = "rate_limit_error";
  error.code = "rate_limit_exceeded";
  error.retry_after_seconds = 1;
  error.message = "Too many large requests wait to be read; try again in a moment.";
  return error;
}

}  // namespace

TextWorker::TextWorker()
    : state_(std::make_shared<State>()), thread_([state = state_] { run(state); }) {}

TextWorker::~TextWorker() {
  std::deque<std::function<void()>> dropped;  // outside the lock: their responders answer
  {
    const std::lock_guard lock(state_->mutex);
    state_->stop = true;
    dropped.swap(state_->waiting);
    state_->changed.notify_one();
  }
  if (thread_.get_id() == std::this_thread::get_id()) {
    thread_.detach();
  } else {
    thread_.join();
  }
}

bool TextWorker::post(std::function<void()> task) {
  const std::lock_guard lock(state_->mutex);
  if (state_->stop || state_->waiting.size() >= kMaxWaiting) return false;
  state_->waiting.push_back(std::move(task));
  state_->changed.notify_one();
  return true;
}

void TextWorker::run(const std::shared_ptr<State>& state) {
  std::unique_lock lock(state->mutex);
  for (;;) {
    state->changed.wait(lock, [&state] { return state->stop || !state->waiting.empty(); });
    if (state->stop) return;
    std::function<void()> task = std::move(state->waiting.front());
    state->waiting.pop_front();
    lock.unlock();
    task();
    task = nullptr;  // outside the lock: may destroy the worker
    lock.lock();
  }
}

RouteHandler off_the_loop(std::shared_ptr<TextWorker> worker, RouteHandler handler) {
  return [worker = std::move(worker), handler = std::move(handler)](
             HttpRequest request, const std::string& rest,
             std::shared_ptr<HttpResponder> responder) {
    if (request.body.size() <= kInlineBodyBytes) {
      return handler(std::move(request), rest, std::move(responder));
    }
    // Shared: the responder must be at hand when the queue is full.
    auto shared = std::make_shared<HttpRequest>(std::move(request));
    const bool accepted = worker->post([handler, shared, rest, responder] {
      try {
        handler(std::move(*shared), rest, responder);
      } catch (const std::exception& failure) {
        // Dropping the responder answers 500.
        log_error("an HTTP handler failed", {{"path", shared->path}, {"reason", failure.what()}});
      }
    });
    if (!accepted) respond_error(*responder, too_many());
  };
}

}  // namespace conclave::coordinator
