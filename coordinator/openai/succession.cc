#include "coordinator/openai/succession.h"

#include <mutex>
#include <utility>

namespace conclave::coordinator {
namespace {

// One request that is not finished.
class Counted {
 public:
  explicit Counted(std::shared_ptr<std::atomic<int64_t>> count) : count_(std::move(count)) {
    ++*count_;
  }
  ~Counted() { --*count_; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

 private:
  const std::shared_ptr<std::atomic<int64_t>> count_;
};

// Counts a request for as long as anything may still answer it.
class CountedResponder : public HttpResponder {
 public:
  CountedResponder(std::shared_ptr<HttpResponder> responder,
                   std::shared_ptr<std::atomic<int64_t>> count)
      : counted_(std::make_shared<Counted>(std::move(count))), responder_(std::move(responder)) {}
  void respond(int status, HttpHeaders headers, std::string body) override {
    responder_->respond(status, std::move(headers), std::move(body));
  }
  void begin_stream(int status, HttpHeaders headers, HttpHeartbeat heartbeat) override {
    responder_->begin_stream(status, std::move(headers), std::move(heartbeat));
  }
  void respond_from(int status, HttpHeaders headers, HttpBodySource source) override {
    responder_->respond_from(
        status, std::move(headers),
        [counted = counted_, source = std::move(source)](std::string* piece) {
          return source(piece);
        });
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
  const std::shared_ptr<Counted> counted_;  // goes after the responder
  std::shared_ptr<HttpResponder> responder_;
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
