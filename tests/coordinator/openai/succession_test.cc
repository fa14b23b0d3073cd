#include "coordinator/openai/succession.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <thread>

#include "coordinator/http/http_server.h"
#include "tests/coordinator/openai/http_client.h"

namespace conclave::coordinator {
namespace {

// Two servers: `old` with a Succession, `heir` behind it. "/hold" keeps its responder for the test.
class SuccessionTest : public testing::Test {
 protected:
  void SetUp() override {
    router_.add(
        "POST", "/echo",
        [](HttpRequest request, const std::string&, std::shared_ptr<HttpResponder> responder) {
          responder->respond(200, {}, "old " + request.body);
        });
    router_.add("POST", "/hold",
                [this](HttpRequest, const std::string&, std::shared_ptr<HttpResponder> responder) {
                  keep(std::move(responder));
                });
    old_ = start([this](HttpRequest request, std::shared_ptr<HttpResponder> responder) {
      succession_.handle(std::move(request), std::move(responder), router_);
    });
    heir_ = start([this](HttpRequest request, std::shared_ptr<HttpResponder> responder) {
      serve(std::move(request), std::move(responder));
    });
  }
  ~SuccessionTest() override {
    held_.reset();
    old_.reset();
    heir_.reset();
  }
  static std::unique_ptr<HttpServer> start(HttpHandler handler) {
    auto server = HttpServer::start(HttpServerOptions{}, std::move(handler));
    EXPECT_TRUE(server.ok()) << server.status();
    return std::move(*server);
  }
  void serve(HttpRequest request, std::shared_ptr<HttpResponder> responder) {
    if (request.path == "/hold") {
      responder->on_disconnect([this] {
        std::lock_guard lock(mutex_);
        left_ = true;
        changed_.notify_all();
      });
      return keep(std::move(responder));
    }
    if (request.path == "/stream") {
      responder->begin_stream(200, {{"Content-Type", "text/event-stream"}, {"X-Own", "kept"}}, {});
      for (int i = 0; i < 3; ++i) responder->write("data: " + std::to_string(i) + "\n\n");
      if (request.query != "cut") responder->finish();
      return;
    }
    responder->respond(request.path == "/teapot" ? 418 : 200, {{"Retry-After", "7"}},
                       "heir " + request.method + " " + request.target + " " +
                           std::string(request.header("authorization")) + " " +
                           std::string(request.header("connection")) + " " + request.request_id +
                           " " + request.body);
  }
  void keep(std::shared_ptr<HttpResponder> responder) {
    std::lock_guard lock(mutex_);
    held_ = std::move(responder);
    changed_.notify_all();
  }
  std::shared_ptr<HttpResponder> wait_held() {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(20), [&] { return held_ != nullptr; });
    return std::move(held_);
  }
  void hand_over() { succession_.begin({"127.0.0.1", heir_->port()}); }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<HttpResponder> held_;
  bool left_ = false;
  Router router_;
  Succession succession_;
  std::unique_ptr<HttpServer> old_, heir_;
};

TEST_F(SuccessionTest, PassesRequestsOnFromTheHandOverOn) {
  EXPECT_EQ(http_post(old_->port(), "/echo", "{}").body, "old {}");
  hand_over();
  const ClientResponse answer = http_post(old_->port(), "/echo?a=%20b", "{\"x\":1}",
                                          "Authorization: Bearer k\r\nx-request-id: id-7\r\n");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, "heir POST /echo?a=%20b Bearer k close id-7 {\"x\":1}");
  EXPECT_EQ(answer.headers.at("x-request-id"), "id-7");
  EXPECT_EQ(answer.headers.at("retry-after"), "7");
  EXPECT_EQ(http_get(old_->port(), "/teapot").status, 418);
}

TEST_F(SuccessionTest, AnswersItsOwnOpenRequestsAndCountsThem) {
  HttpClient client(old_->port());
  ASSERT_TRUE(client.send(post_text("/hold", "{}")));
  auto responder = wait_held();
  ASSERT_NE(responder, nullptr);
  EXPECT_EQ(succession_.own_open(), 1);
  hand_over();
  EXPECT_EQ(succession_.own_open(), 1);
  responder->respond(200, {}, "mine");
  responder.reset();
  EXPECT_EQ(client.read_response().body, "mine");
  for (int i = 0; i < 400 && succession_.own_open() != 0; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(succession_.own_open(), 0);
}

TEST_F(SuccessionTest, PassesStreamsOnAndTheirEnd) {
  hand_over();
  const ClientResponse whole = http_get(old_->port(), "/stream");
  EXPECT_EQ(whole.body, "data: 0\n\ndata: 1\n\ndata: 2\n\n");
  EXPECT_TRUE(whole.complete);
  EXPECT_EQ(whole.headers.at("x-own"), "kept");
  EXPECT_EQ(whole.headers.at("content-type"), "text/event-stream");
  EXPECT_FALSE(http_get(old_->port(), "/stream?cut").complete);
}

TEST_F(SuccessionTest, AClientThatLeavesIsGoneForTheSuccessorToo) {
  hand_over();
  HttpClient client(old_->port());
  ASSERT_TRUE(client.send(post_text("/hold", "{}")));
  const auto responder = wait_held();
  ASSERT_NE(responder, nullptr);
  client.reset();
  std::unique_lock lock(mutex_);
  EXPECT_TRUE(changed_.wait_for(lock, std::chrono::seconds(20), [&] { return left_; }));
}

TEST_F(SuccessionTest, ADeadSuccessorIs503WithRetryAfter) {
  hand_over();
  heir_->stop(std::chrono::milliseconds(0));
  const ClientResponse answer = http_post(old_->port(), "/echo", "{}");
  EXPECT_EQ(answer.status, 503);
  EXPECT_EQ(answer.headers.at("retry-after"), "1");
  EXPECT_NE(answer.body.find("\"error\""), std::string::npos);
}

}  // namespace
}  // namespace conclave::coordinator
