#include "coordinator/openai/text_workers.h"

#include <exception>
#include <utility>

#include "base/log.h"
#include "coordinator/http/api_key.h"

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

void handle(const TextHandler& handler, HttpRequest request,
            const std::shared_ptr<HttpResponder>& responder, const std::atomic<bool>& gone) {
  const std::string path = request.path;
  try {
    handler(std::move(request), responder, gone);
  } catch (const std::exception& failure) {
    // Dropping the responder answers 500.
    log_error("an HTTP handler failed", {{"path", path}, {"reason", failure.what()}});
  }
}

}  // namespace

TextWorkers::TextWorkers(TextQueueLimits limits) : state_(std::make_shared<State>(limits)) {
  for (int i = 0; i < kThreads; ++i)
    threads_.emplace_back([state = state_, takes_long = i != 0] { run(state, takes_long); });
}

TextWorkers::~TextWorkers() {
  std::vector<TextJob> dropped;  // outside the lock: their responders answer
  {
    const std::lock_guard lock(state_->mutex);
    state_->stop = true;
    dropped = state_->queue.take_all();
    state_->changed.notify_all();
  }
  for (std::thread& thread : threads_) {
    if (thread.get_id() == std::this_thread::get_id()) {
      thread.detach();
    } else {
      thread.join();
    }
  }
}

bool TextWorkers::post(TextJob job) {
  const std::lock_guard lock(state_->mutex);
  if (state_->stop || !state_->queue.push(std::move(job))) return false;
  // All: the one that would be woken may not take it.
  state_->changed.notify_all();
  return true;
}

void TextWorkers::run(const std::shared_ptr<State>& state, bool takes_long) {
  const auto may_take = [&state, takes_long](const TextJob& job) {
    return !TextQueue::is_long(job) || (takes_long && !state->long_clients.contains(job.client));
  };
  std::unique_lock lock(state->mutex);
  for (;;) {
    std::optional<TextJob> job;
    state->changed.wait(lock, [&] {
      if (!state->stop) job = state->queue.pop(may_take);
      return state->stop || job.has_value();
    });
    if (state->stop) return;
    const bool is_long = TextQueue::is_long(*job);
    if (is_long) state->long_clients.insert(job->client);
    lock.unlock();
    if (!*job->gone) job->work();
    const std::string client = job->client;
    job.reset();  // outside the lock: may destroy the workers
    lock.lock();
    if (!is_long) continue;
    state->long_clients.erase(client);
    state->changed.notify_all();
  }
}

RouteHandler off_the_loop(std::shared_ptr<TextWorkers> workers, TextHandler handler) {
  return [workers = std::move(workers), handler = std::move(handler)](
             HttpRequest request, const std::string&, std::shared_ptr<HttpResponder> responder) {
    const auto gone = std::make_shared<std::atomic<bool>>(false);
    if (request.body.size() <= kInlineBodyBytes)
      return handler(std::move(request), std::move(responder), *gone);
    responder->on_disconnect([gone] { *gone = true; });
    const std::string client =
        request.key != nullptr ? "key " + request.key->name : "request " + request.request_id;
    const size_t bytes = request.body.size();
    // Shared: the responder must be at hand when the queue is full, and jobs are copied.
    auto shared = std::make_shared<HttpRequest>(std::move(request));
    const bool accepted = workers->post({client, bytes, gone, [handler, shared, responder, gone] {
                                           handle(handler, std::move(*shared), responder, *gone);
                                         }});
    if (!accepted) respond_error(*responder, too_many());
  };
}

}  // namespace conclave::coordinator
