#include "coordinator/openai/succession.h"

#include <mutex>
#include <utility>

namespace conclave::coordinator {
namespace {

// Counts a request for as long as anything may still answer it.
class CountedResponder : public HttpResponder {
 public:
  CountedResponder(std::shared_ptr<HttpResponder> responder,
                   std::shared_ptr<std::atomic<int64_t>> count)
      : responder_(std::move(responder)), count_(std::move(count)) {
    ++*count_;
  }
  ~CountedResponder() override {
    responder_.reset();
    --*count_;
  }
  void respond(int status, HttpHeaders headers, std::string body) override {
    responder_->respond(status, std::move(headers), std::move(body));
  }
  void begin_stream(int status, HttpHeaders headers, HttpHeartbeat heartbeat) override {
    responder_->begin_stream(status, std::move(headers), std::move(heartbeat));
  }
  void write(std::string chunk) override { responder_->write(std::move(chunk)); }
  void finish() override { responder_->finish(); }
  void on_disconnect(std::function<void()> callback) override {
    responder_->on_disconnect(std::move(callback));
  }
  void post(std::function<void()> task) override { responder_->post(std::move(task)); }
  void post_after(std::chrono::milliseconds delay, std::function<void()> task) override {
    responder_->post_after(delay, std::move(task));
  }

 private:
  std::shared_ptr<HttpResponder> responder_;
  const std::shared_ptr<std::atomic<int64_t>> count_;
};

}  // namespace

void Succession::handle(HttpRequest request, std::shared_ptr<HttpResponder> responder,
                        const Router& own) {
  std::shared_lock lock(mutex_);
  if (successor_ != nullptr) return successor_->forward(std::move(request), std::move(responder));
  own.handle(std::move(request),
             std::make_shared<CountedResponder>(std::move(responder), own_open_));
}

void Succession::begin(const HttpEndpoint& successor) {
  std::unique_lock lock(mutex_);
  if (successor_ == nullptr) successor_ = HttpForwarder::create(successor);
}

}  // namespace conclave::coordinator
