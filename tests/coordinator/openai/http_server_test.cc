#include "coordinator/http/http_server.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "tests/coordinator/openai/http_client.h"

namespace conclave::coordinator {
namespace {

// Answers "/echo" with method, path and body; "/hold" keeps the responder for the test.
class HttpServerTest : public testing::Test {
 protected:
  void start(HttpServerOptions options = {}) {
    auto server = HttpServer::start(
        std::move(options), [this](HttpRequest request, std::shared_ptr<HttpResponder> responder) {
          handle(std::move(request), std::move(responder));
        });
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = std::move(*server);
  }
  void handle(HttpRequest request, std::shared_ptr<HttpResponder> responder) {
    if (request.path == "/drop") return;
    if (request.path == "/throw") throw std::runtime_error("a bug");
    if (request.path == "/hold") {
      responder->on_disconnect([this] { note_disconnect(); });
      std::lock_guard lock(mutex_);
      held_.push_back(std::move(responder));
      changed_.notify_all();
      return;
    }
    responder->respond(200, {{"Content-Type", "text/plain"}},
                       request.method + " " + request.path + " " + request.body);
  }
  void note_disconnect() {
    std::lock_guard lock(mutex_);
    ++disconnects_;
    changed_.notify_all();
  }
  std::shared_ptr<HttpResponder> wait_held(size_t index = 0) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(20), [&] { return held_.size() > index; });
    return held_.at(index);
  }
  bool wait_disconnects(int count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(20), [&] { return disconnects_ >= count; });
  }
  void release_held() {
    std::lock_guard lock(mutex_);
    held_.clear();
  }
  ~HttpServerTest() override { release_held(); }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::shared_ptr<HttpResponder>> held_;
  int disconnects_ = 0;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpServerTest, KeepAliveServesManyRequestsOnOneConnection) {
  start();
  HttpClient client(server_->port());
  for (int i = 0; i < 5; ++i) {
    client.send("GET /echo HTTP/1.1\r\nHost: h\r\nx-request-id: r" + std::to_string(i) + "\r\n\r\n");
    const ClientResponse response = client.read_response();
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(response.body, "GET /echo ");
    EXPECT_EQ(response.headers.at("x-request-id"), "r" + std::to_string(i));
  }
}

TEST_F(HttpServerTest, PipelinedRequestsAreAnsweredInOrder) {
  start();
  HttpClient client(server_->port());
  std::string all;
  for (int i = 0; i < 50; ++i) all += "GET /" + std::to_string(i) + " HTTP/1.1\r\nHost: h\r\n\r\n";
  client.send(all);
  for (int i = 0; i < 50; ++i)
    EXPECT_EQ(client.read_response().body, "GET /" + std::to_string(i) + " ");
}

TEST_F(HttpServerTest, PipelinedRequestWaitsForASlowAnswerBeforeIt) {
  start();
  HttpClient client(server_->port());
  client.send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\nGET /next HTTP/1.1\r\nHost: h\r\n\r\n");
  wait_held()->respond(200, {}, "slow");
  EXPECT_EQ(client.read_response().body, "slow");
  EXPECT_EQ(client.read_response().body, "GET /next ");
}

TEST_F(HttpServerTest, HeadHasTheLengthButNoBody) {
  start();
  HttpClient client(server_->port());
  client.send("HEAD /x HTTP/1.1\r\nHost: h\r\n\r\nGET /y HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(client.read_response(true).headers.at("content-length"), "8");
  EXPECT_EQ(client.read_response().body, "GET /y ");
}

TEST_F(HttpServerTest, Http10GetsNoChunksAndAClosedConnection) {
  start();
  HttpClient client(server_->port());
  client.send("GET /hold HTTP/1.0\r\n\r\n");
  const auto responder = wait_held();
  responder->begin_stream(200, {}, {});
  responder->write("one");
  responder->write("two");
  responder->finish();
  const ClientResponse response = client.read_response();
  EXPECT_EQ(response.headers.count("transfer-encoding"), 0u);
  EXPECT_EQ(response.body, "onetwo");
}

TEST_F(HttpServerTest, StreamsArriveInChunksAndKeepTheConnection) {
  start();
  HttpClient client(server_->port());
  client.send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
  const auto responder = wait_held();
  responder->begin_stream(200, {{"Content-Type", "text/event-stream"}}, {});
  responder->write("first");
  EXPECT_TRUE(client.read_until("first"));
  responder->write("second");
  responder->finish();
  const ClientResponse response = client.read_response();
  EXPECT_EQ(response.body, "firstsecond");
  EXPECT_TRUE(response.complete);
  client.send("GET /z HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(client.read_response().body, "GET /z ");
}

TEST_F(HttpServerTest, SilentStreamsGetHeartbeats) {
  start({.header_timeout = std::chrono::milliseconds(100)});
  HttpClient client(server_->port());
  client.send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
  wait_held()->begin_stream(200, {}, {": ping\n\n", std::chrono::milliseconds(20)});
  EXPECT_TRUE(client.read_until(": ping\n\n\r\n8\r\n: ping\n\n"));
}

TEST_F(HttpServerTest, ClientThatLeavesIsNoticedWhileNothingIsWritten) {
  start();
  HttpClient fin(server_->port());
  fin.send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
  wait_held(0);
  fin.close();
  EXPECT_TRUE(wait_disconnects(1));
  HttpClient rst(server_->port());
  rst.send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
  wait_held(1)->begin_stream(200, {}, {});
  rst.reset();
  EXPECT_TRUE(wait_disconnects(2));
}

TEST_F(HttpServerTest, DisconnectIsToldToACallbackSetTooLate) {
  start();
  HttpClient client(server_->port());
  client.send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
  const auto responder = wait_held();
  client.close();
  ASSERT_TRUE(wait_disconnects(1));
  responder->on_disconnect([this] { note_disconnect(); });
  EXPECT_TRUE(wait_disconnects(2));
}

TEST_F(HttpServerTest, HandlersThatForgetOrThrowGet500) {
  start();
  for (const char* path : {"/drop", "/throw"}) {
    const ClientResponse response = http_get(server_->port(), path);
    EXPECT_EQ(response.status, 500) << path;
    EXPECT_NE(response.body.find("\"internal_error\""), std::string::npos);
  }
}

TEST_F(HttpServerTest, AbandonedStreamIsCutNotEndedCleanly) {
  start();
  HttpClient client(server_->port());
  client.send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
  {
    const auto responder = wait_held();
    responder->begin_stream(200, {}, {});
    responder->write("half");
  }
  release_held();
  const ClientResponse response = client.read_response();
  EXPECT_EQ(response.body, "half");
  EXPECT_FALSE(response.complete);
}

TEST_F(HttpServerTest, HalfClosedClientStillGetsAnImmediateAnswer) {
  start();
  HttpClient client(server_->port());
  client.send("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
  client.half_close();
  EXPECT_EQ(client.read_response().body, "GET /a ");
  EXPECT_TRUE(client.read_end());
}

TEST_F(HttpServerTest, HalfClosedInTheMiddleOfARequestGets400) {
  start();
  HttpClient client(server_->port());
  client.send("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc");
  client.half_close();
  EXPECT_EQ(client.read_response().status, 400);
  EXPECT_TRUE(client.read_end());
}

TEST_F(HttpServerTest, StopFinishesOpenAnswersAndRefusesNewConnections) {
  start();
  const uint16_t port = server_->port();
  HttpClient idle(port);
  idle.send("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(idle.read_response().status, 200);
  HttpClient busy(port);
  busy.send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
  const auto responder = wait_held();
  responder->begin_stream(200, {}, {});
  std::thread stopper([this] { server_->stop(std::chrono::seconds(20)); });
  EXPECT_TRUE(idle.read_end());  // idle connections go at once
  responder->write("rest");
  responder->finish();
  const ClientResponse response = busy.read_response();
  EXPECT_EQ(response.body, "rest");
  EXPECT_TRUE(response.complete);
  EXPECT_TRUE(busy.read_end());
  busy.close();
  stopper.join();
  HttpClient late(port);
  EXPECT_FALSE(late.send("GET /a HTTP/1.1\r\nHost: h\r\n\r\n") && late.read_response().status == 200);
}

TEST_F(HttpServerTest, StopCutsWhatDoesNotFinishAndTellsIt) {
  start();
  HttpClient client(server_->port());
  client.send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
  const auto responder = wait_held();
  server_->stop(std::chrono::milliseconds(10));
  EXPECT_TRUE(wait_disconnects(1));
  server_.reset();
  responder->write("into the void");  // the responder outlives its server
}

TEST_F(HttpServerTest, TakenPortIsOneSentence) {
  start();
  const auto second = HttpServer::start({.port = server_->port()},
                                        [](HttpRequest, std::shared_ptr<HttpResponder>) {});
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(second.status().message().find("127.0.0.1:" + std::to_string(server_->port())),
            std::string::npos);
}

}  // namespace
}  // namespace conclave::coordinator
