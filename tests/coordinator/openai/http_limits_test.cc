// What a client controls is bounded: sizes, times, numbers.

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "coordinator/http/http_server.h"
#include "tests/coordinator/openai/http_client.h"

namespace conclave::coordinator {
namespace {

class HttpLimitsTest : public testing::Test {
 protected:
  void start(HttpServerOptions options) {
    auto server = HttpServer::start(
        std::move(options), [this](HttpRequest request, std::shared_ptr<HttpResponder> responder) {
          if (request.path == "/flood") return flood(std::move(responder));
          responder->respond(200, {}, std::to_string(request.body.size()));
        });
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = std::move(*server);
  }
  // Writes far more than anyone holds for a client that does not read.
  void flood(std::shared_ptr<HttpResponder> responder) {
    responder->on_disconnect([this] {
      std::lock_guard lock(mutex_);
      dropped_ = true;
      changed_.notify_all();
    });
    responder->begin_stream(200, {}, {});
    for (int i = 0; i < 1000; ++i) responder->write(std::string(100000, 'x'));
    responder->finish();
  }
  bool wait_dropped() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(20), [&] { return dropped_; });
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  bool dropped_ = false;
  std::atomic<bool> stop_drip_{false};
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpLimitsTest, TenMegabyteBodyIs413EvenWhileItIsBeingSent) {
  start({});
  HttpClient client(server_->port());
  client.send(post_text("/x", std::string(10'000'000, 'a')));
  const ClientResponse response = client.read_response();
  EXPECT_EQ(response.status, 413);
  EXPECT_NE(response.body.find("\"body_too_large\""), std::string::npos);
  EXPECT_EQ(response.headers.at("connection"), "close");
  EXPECT_TRUE(client.read_end());
}

TEST_F(HttpLimitsTest, BodyOfTheLimitIsFine) {
  start({.max_body_bytes = 1000});
  EXPECT_EQ(http_post(server_->port(), "/x", std::string(1000, 'a')).body, "1000");
  EXPECT_EQ(http_post(server_->port(), "/x", std::string(1001, 'a')).status, 413);
}

TEST_F(HttpLimitsTest, LongHeaderIs431) {
  start({});
  const ClientResponse response =
      http_get(server_->port(), "/x", "A: " + std::string(40000, 'a') + "\r\n");
  EXPECT_EQ(response.status, 431);
}

TEST_F(HttpLimitsTest, BadHttpIs400WithARequestId) {
  start({});
  HttpClient client(server_->port());
  client.send("this is not http\r\n\r\n");
  const ClientResponse response = client.read_response();
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(response.headers.count("x-request-id"), 1u);
  EXPECT_TRUE(client.read_end());
}

TEST_F(HttpLimitsTest, SlowHeaderIs408AndDripsDoNotExtendIt) {
  start({.header_timeout = std::chrono::milliseconds(100)});
  HttpClient client(server_->port());
  std::thread drip([this, &client] {
    const std::string request = "GET / HTTP/1.1\r\nHost: h\r\nA: " + std::string(4000, 'a');
    for (const char c : request) {
      if (!client.send(std::string_view(&c, 1))) return;
      std::this_thread::sleep_for(
          std::chrono::milliseconds(10));  // the client's slowness, not a synchronisation
      if (stop_drip_) return;
    }
  });
  const ClientResponse response = client.read_response();
  stop_drip_ = true;
  drip.join();
  EXPECT_EQ(response.status, 408);
  EXPECT_NE(response.body.find("\"timeout\""), std::string::npos);
}

TEST_F(HttpLimitsTest, SlowBodyIs408) {
  start({.body_timeout = std::chrono::milliseconds(50)});
  HttpClient client(server_->port());
  client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nabc");
  EXPECT_EQ(client.read_response().status, 408);
  EXPECT_TRUE(client.read_end());
}

TEST_F(HttpLimitsTest, IdleConnectionsAreClosedQuietly) {
  start({.idle_timeout = std::chrono::milliseconds(50)});
  HttpClient client(server_->port());
  EXPECT_TRUE(client.read_end());
  EXPECT_EQ(client.received(), "");
}

TEST_F(HttpLimitsTest, ContinueIsSentToClientsThatWaitForIt) {
  start({});
  HttpClient client(server_->port());
  client.send("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
  EXPECT_TRUE(client.read_until("HTTP/1.1 100 Continue\r\n\r\n"));
  client.send("abc");
  EXPECT_EQ(client.read_response().status, 100);
  EXPECT_EQ(client.read_response().body, "3");
}

TEST_F(HttpLimitsTest, ConnectionsBeyondTheLimitGet503) {
  start({.max_connections = 2});
  HttpClient first(server_->port());
  HttpClient second(server_->port());
  first.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  second.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(first.read_response().status, 200);
  EXPECT_EQ(second.read_response().status, 200);
  HttpClient third(server_->port());
  const ClientResponse response = third.read_response();
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(response.headers.at("retry-after"), "1");
}

TEST_F(HttpLimitsTest, ReaderThatLetsTooMuchPileUpIsDropped) {
  start({.max_stream_queue_bytes = 1 << 20, .socket_send_buffer_bytes = 1 << 16});
  HttpClient client(server_->port());
  client.send("GET /flood HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_TRUE(wait_dropped());
}

TEST_F(HttpLimitsTest, ReaderThatTakesNothingInTimeIsDropped) {
  start({.max_stream_queue_bytes = size_t{1} << 30,
         .socket_send_buffer_bytes = 1 << 16,
         .write_timeout = std::chrono::milliseconds(100)});
  HttpClient client(server_->port());
  client.set_receive_buffer(1 << 12);
  client.send("GET /flood HTTP/1.1\r\nHost: h\r\n\r\n");
  // The flood is complete when it is queued, so nobody is told; the connection goes all the same.
  while (server_->open_connections() == 0) std::this_thread::yield();
  while (server_->open_connections() != 0) std::this_thread::yield();
  SUCCEED();
}

}  // namespace
}  // namespace conclave::coordinator
