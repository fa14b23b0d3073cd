// Answers that are asked for piece by piece.

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <thread>

#include "coordinator/http/http_server.h"
#include "tests/coordinator/openai/http_client.h"

namespace conclave::coordinator {
namespace {

constexpr size_t kPiece = 16384;

class HttpBodySourceTest : public testing::Test {
 protected:
  // Every request is answered with so many pieces; 0: pieces without end.
  void start(int pieces) {
    HttpServerOptions options;
    options.socket_send_buffer_bytes = 1 << 14;
    options.max_stream_queue_bytes = 1 << 14;  // of streams; says nothing here
    auto server = HttpServer::start(
        std::move(options), [this, pieces](HttpRequest, std::shared_ptr<HttpResponder> responder) {
          auto asked = std::make_shared<std::atomic<int>>(0);
          alive_ = asked;
          responder->respond_from(200, {{"Content-Type", "text/plain"}},
                                  [this, asked, pieces](std::string* piece) {
                                    ++asked_;
                                    piece->append(kPiece, 'x');
                                    return ++*asked != pieces;
                                  });
        });
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = std::move(*server);
  }
  static bool wait_for(const std::function<bool()>& condition) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (std::chrono::steady_clock::now() < end) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  }

  std::atomic<int> asked_{0};
  std::weak_ptr<std::atomic<int>> alive_;  // of the source
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpBodySourceTest, ComesWholeAndTheConnectionGoesOn) {
  start(300);
  HttpClient client(server_->port());
  for (int round = 0; round < 2; ++round) {
    client.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
    const ClientResponse response = client.read_response();
    EXPECT_TRUE(response.complete);
    EXPECT_EQ(response.headers.at("transfer-encoding"), "chunked");
    EXPECT_EQ(response.body.size(), 300 * kPiece);
  }
  EXPECT_TRUE(wait_for([this] { return alive_.expired(); }));
}

TEST_F(HttpBodySourceTest, OlderClientsGetItUntilTheClose) {
  start(20);
  HttpClient client(server_->port());
  client.send("GET /a HTTP/1.0\r\n\r\n");
  EXPECT_EQ(client.read_response().body.size(), 20 * kPiece);
}

TEST_F(HttpBodySourceTest, AClientThatHasSaidAllStillGetsTheRest) {
  start(300);
  HttpClient client(server_->port());
  client.set_receive_buffer(1 << 14);
  client.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(wait_for([this] { return asked_ > 2; }));
  client.half_close();
  const ClientResponse response = client.read_response();
  EXPECT_TRUE(response.complete);
  EXPECT_EQ(response.body.size(), 300 * kPiece);
}

TEST_F(HttpBodySourceTest, HeadAsksForNothing) {
  start(20);
  HttpClient client(server_->port());
  client.send("HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(client.read_response(true).status, 200);
  EXPECT_EQ(asked_, 0);
}

TEST_F(HttpBodySourceTest, IsAskedAsTheClientTakesItAndDroppedWhenItLeaves) {
  start(0);
  {
    HttpClient client(server_->port());
    client.set_receive_buffer(1 << 14);
    client.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
    ASSERT_TRUE(wait_for([this] { return asked_ > 0; }));
    // What the kernel buffers; then nothing more is asked for.
    int before = -1;
    EXPECT_TRUE(wait_for([this, &before] {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      return std::exchange(before, asked_.load()) == asked_.load();
    }));
    EXPECT_LT(asked_, 2000);
    EXPECT_FALSE(alive_.expired());
    client.reset();
  }
  EXPECT_TRUE(wait_for([this] { return alive_.expired(); }));
}

TEST_F(HttpBodySourceTest, StoppingCutsWhatNobodyTakes) {
  start(0);
  HttpClient client(server_->port());
  client.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(wait_for([this] { return asked_ > 0; }));
  server_->stop(std::chrono::milliseconds(50));
  EXPECT_TRUE(wait_for([this] { return alive_.expired(); }));
}

}  // namespace
}  // namespace conclave::coordinator
