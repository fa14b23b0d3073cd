#include "coordinator/admin/admin_audit.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "base/log.h"
#include "coordinator/http/api_key.h"

namespace conclave::coordinator {
namespace {

constexpr std::string_view kAdmin = "/admin/v1/";
constexpr size_t kLongestQuote = 200;

bool changes_something(const HttpRequest& request) {
  const bool looks =
      request.method == "GET" || request.method == "HEAD" || request.method == "OPTIONS";
  return !looks && request.path.starts_with(kAdmin);
}

std::string quote(std::string_view text) {
  if (text.size() <= kLongestQuote) return std::string(text);
  size_t end = kLongestQuote;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0u) == 0x80u) --end;
  return std::string(text.substr(0, end)) + "…";
}

std::string who(const HttpRequest& request) {
  if (request.key != nullptr) return "key " + request.key->name;
  return request.peer.uid ? "uid " + std::to_string(*request.peer.uid) : "unknown";
}

class AuditedResponder : public HttpResponder {
 public:
  AuditedResponder(const HttpRequest& request, std::shared_ptr<HttpResponder> responder)
      : responder_(std::move(responder)),
        act_(request.method + " " + quote(request.path)),
        asked_(quote(request.body)),
        who_(who(request)),
        peer_(request.peer.address),
        request_id_(request.request_id) {}
  ~AuditedResponder() override {
    if (!told_) tell("no answer");
  }
  void respond(int status, HttpHeaders headers, std::string body) override {
    tell(std::to_string(status));
    responder_->respond(status, std::move(headers), std::move(body));
  }
  void begin_stream(int status, HttpHeaders headers, HttpHeartbeat heartbeat) override {
    tell(std::to_string(status));
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
  void tell(std::string result) {
    told_ = true;
    log_info("admin act", {{"act", act_},
                           {"by", who_},
                           {"peer", peer_},
                           {"status", std::move(result)},
                           {"asked", asked_},
                           {"request_id", request_id_}});
  }
  const std::shared_ptr<HttpResponder> responder_;
  const std::string act_, asked_, who_, peer_, request_id_;
  bool told_ = false;
};

}  // namespace

LogBrake::LogBrake(double burst, std::chrono::nanoseconds period)
    : burst_(burst), period_(period), tokens_(burst) {}

int64_t LogBrake::pass(std::chrono::steady_clock::time_point now) {
  std::lock_guard lock(mutex_);
  const double periods =
      std::chrono::duration<double>(now - last_) / std::chrono::duration<double>(period_);
  tokens_ = std::min(burst_, tokens_ + periods);
  last_ = now;
  if (tokens_ < 1) {
    ++held_back_;
    return -1;
  }
  tokens_ -= 1;
  return std::exchange(held_back_, 0);
}

std::shared_ptr<HttpResponder> AdminAudit::follow(const HttpRequest& request,
                                                  std::shared_ptr<HttpResponder> responder) {
  if (!changes_something(request)) return responder;
  return std::make_shared<AuditedResponder>(request, std::move(responder));
}

void AdminAudit::refused(const HttpRequest& request, const ApiError& error) {
  const int64_t held_back = brake_.pass(std::chrono::steady_clock::now());
  if (held_back < 0) return;
  log_warning("admin request refused", {{"act", request.method + " " + quote(request.path)},
                                        {"by", who(request)},
                                        {"peer", request.peer.address},
                                        {"status", std::to_string(error.status)},
                                        {"code", error.code.value_or("")},
                                        {"host", quote(request.host)},
                                        {"more_like_it", std::to_string(held_back)},
                                        {"request_id", request.request_id}});
}

}  // namespace conclave::coordinator
