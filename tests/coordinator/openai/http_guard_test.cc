// What a server decides once a request's head is there: who may ask, and whether there is room for
// the body.

#include <gtest/gtest.h>

#include <atomic>

#include "coordinator/http/body_budget.h"
#include "coordinator/http/http_server.h"
#include "tests/coordinator/openai/http_client.h"

namespace conclave::coordinator {
namespace {

class HttpGuardTest : public testing::Test {
 protected:
  // With a guard that wants the header "Key: right", and notes nothing.
  void start(HttpServerOptions options = {}) {
    options.guard = [this](HttpRequest& request) -> std::optional<ApiError> {
      ++guarded_;
      EXPECT_EQ(request.body, "") << "nothing of the body is there yet";
      if (request.header("key") == "right") return std::nullopt;
      ApiError error = bad_request("no", std::nullopt, "no_key");
      error.status = 401;
      return error;
    };
    auto server = HttpServer::start(
        std::move(options), [this](HttpRequest request, std::shared_ptr<HttpResponder> responder) {
          ++handled_;
          if (request.path == "/hold") {
            held_ = std::make_unique<HttpRequest>(std::move(request));
            return responder->respond(200, {}, "held");
          }
          responder->respond(200, {}, std::to_string(request.body.size()) + " " + request.host);
        });
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = std::move(*server);
  }
  uint16_t port() const { return server_->port(); }

  std::atomic<int> guarded_{0}, handled_{0};
  std::unique_ptr<HttpRequest> held_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpGuardTest, ARefusalComesBeforeTheBody) {
  start();
  HttpClient client(port());
  client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n");  // and no body
  const ClientResponse answer = client.read_response();
  EXPECT_EQ(answer.status, 401);
  EXPECT_EQ(answer.headers.at("connection"), "close");
  EXPECT_TRUE(client.read_end());
  EXPECT_EQ(handled_, 0);
}

TEST_F(HttpGuardTest, ARefusalIsReadByAClientThatSendsAllFirst) {
  start();
  const ClientResponse answer = http_post(port(), "/", std::string(4 << 20, 'x'));
  EXPECT_EQ(answer.status, 401);
  EXPECT_NE(answer.body.find("no_key"), std::string::npos);
}

TEST_F(HttpGuardTest, RefusedWithoutABodyTheConnectionGoesOn) {
  start();
  HttpClient client(port());
  for (int i = 0; i < 3; ++i) {
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    EXPECT_EQ(client.read_response().status, 401);
  }
  client.send("GET / HTTP/1.1\r\nHost: h\r\nKey: right\r\n\r\n");
  EXPECT_EQ(client.read_response().status, 200);
  EXPECT_EQ(guarded_, 4);
}

TEST_F(HttpGuardTest, ContinueIsForThoseWhoMay) {
  start();
  HttpClient client(port()), other(port());
  client.send("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
  EXPECT_EQ(client.read_response().status, 401);
  EXPECT_TRUE(client.read_end());
  other.send(
      "POST / HTTP/1.1\r\nHost: h\r\nKey: right\r\nExpect: 100-continue\r\nContent-Length: "
      "3\r\n\r\n");
  EXPECT_EQ(other.read_response().status, 100);
  other.send("abc");
  EXPECT_EQ(other.read_response().body, "3 h");
}

TEST_F(HttpGuardTest, ABodyWithoutRoomIsRefusedBeforeItIsRead) {
  start({.max_body_bytes = 1000, .max_total_body_bytes = 1500});
  EXPECT_EQ(http_post(port(), "/hold", std::string(1000, 'x'), "Key: right\r\n").status, 200);
  HttpClient client(port());
  client.send("POST / HTTP/1.1\r\nHost: h\r\nKey: right\r\nContent-Length: 600\r\n\r\n");
  const ClientResponse refused = client.read_response();
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.headers.at("retry-after"), "1");
  EXPECT_TRUE(client.read_end());
  // What no waiting would let in is not told to try again.
  EXPECT_EQ(http_post(port(), "/", std::string(2000, 'x'), "Key: right\r\n").status, 413);
  EXPECT_EQ(http_post(port(), "/", std::string(400, 'x'), "Key: right\r\n").status, 200);
  held_.reset();  // the request goes, and its share with it
  EXPECT_EQ(http_post(port(), "/", std::string(1000, 'x'), "Key: right\r\n").status, 200);
}

TEST_F(HttpGuardTest, AChunkedBodyIsStoppedWhereTheRoomEnds) {
  start({.max_body_bytes = 1000, .max_total_body_bytes = 1000});
  EXPECT_EQ(http_post(port(), "/hold", std::string(900, 'x'), "Key: right\r\n").status, 200);
  HttpClient client(port());
  client.send(
      "POST / HTTP/1.1\r\nHost: h\r\nKey: right\r\nx-request-id: mine\r\nTransfer-Encoding: chunked\r\n\r\n1f4\r\n" +
      std::string(500, 'x') + "\r\n0\r\n\r\n");
  const ClientResponse refused = client.read_response();
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.headers.at("x-request-id"), "mine");
  EXPECT_TRUE(client.read_end());
}

// Who only announces bodies takes nothing from others.
TEST_F(HttpGuardTest, AnAnnouncedBodyHoldsNoRoom) {
  start({.max_body_bytes = 1000, .max_total_body_bytes = 1000});
  HttpClient idle(port());
  idle.send(
      "POST / HTTP/1.1\r\nHost: h\r\nKey: right\r\nExpect: 100-continue\r\nContent-Length: "
      "1000\r\n\r\n");
  EXPECT_EQ(idle.read_response().status, 100);
  EXPECT_EQ(http_post(port(), "/", std::string(1000, 'x'), "Key: right\r\n").status, 200);
}

TEST_F(HttpGuardTest, AnAbsoluteTargetIsServedAndNamesTheHost) {
  start();
  HttpClient client(port());
  client.send("GET http://named:7/x HTTP/1.1\r\nHost: other\r\nKey: right\r\n\r\n");
  EXPECT_EQ(client.read_response().body, "0 named:7");
  client.send("GET x HTTP/1.1\r\nHost: other\r\nKey: right\r\n\r\n");
  EXPECT_EQ(client.read_response().status, 400);
}

constexpr const char* kPreflight =
    "OPTIONS /x HTTP/1.1\r\nHost: h\r\nOrigin: http://page.example\r\n"
    "Access-Control-Request-Method: POST\r\n"
    "Access-Control-Request-Headers: authorization,content-type\r\n\r\n";

TEST_F(HttpGuardTest, APageMayAskIfItsOriginIsListed) {
  start({.cors = *CorsPolicy::from_list({"https://other.example", "http://page.example"})});
  HttpClient client(port());
  client.send(kPreflight);
  ClientResponse answer = client.read_response();
  EXPECT_EQ(answer.status, 204);
  EXPECT_EQ(answer.headers.at("access-control-allow-origin"), "http://page.example");
  EXPECT_EQ(answer.headers.at("access-control-allow-headers"), "authorization,content-type");
  EXPECT_NE(answer.headers.at("access-control-allow-methods").find("POST"), std::string::npos);
  EXPECT_EQ(answer.headers.at("vary"), "Origin");
  EXPECT_EQ(guarded_, 0);
  // Refusals and failures as well: a page that may not read them knows nothing.
  for (const char* request :
       {"GET / HTTP/1.1\r\nHost: h\r\nOrigin: http://page.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nOrigin: http://page.example\r\nKey: right\r\n\r\n"}) {
    client.send(request);
    answer = client.read_response();
    EXPECT_EQ(answer.headers.at("access-control-allow-origin"), "http://page.example");
    EXPECT_NE(answer.headers.at("access-control-expose-headers").find("x-request-id"),
              std::string::npos);
  }
  // And nothing of it remains for the next one on the connection.
  client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(client.read_response().headers.count("access-control-allow-origin"), 0u);
}

TEST_F(HttpGuardTest, APageThatIsNotListedGetsNoLeave) {
  start({.cors = *CorsPolicy::from_list({"https://other.example"})});
  HttpClient client(port());
  client.send(kPreflight);
  const ClientResponse answer = client.read_response();
  EXPECT_EQ(answer.status, 204);
  EXPECT_EQ(answer.headers.count("access-control-allow-origin"), 0u);
  EXPECT_EQ(answer.headers.count("access-control-allow-methods"), 0u);
}

TEST_F(HttpGuardTest, AStarIsEveryPage) {
  start({.cors = *CorsPolicy::from_list({"*"})});
  HttpClient client(port());
  client.send(kPreflight);
  EXPECT_EQ(client.read_response().headers.at("access-control-allow-origin"), "*");
}

TEST(CorsPolicy, WhatIsNoOriginIsRefused) {
  for (const char* bad :
       {"", "page.example", "http://", "http://page.example/", "http://page.example/x",
        "HTTP://page.example", "http://Page.example", "null", "http://*", "http://a b"})
    EXPECT_FALSE(CorsPolicy::from_list({bad}).ok()) << bad;
  EXPECT_FALSE(CorsPolicy::from_list({"*", "http://page.example"}).ok());
  EXPECT_TRUE(CorsPolicy::from_list({"http://localhost:3000", "http://[::1]:3000"}).ok());
  EXPECT_TRUE(CorsPolicy::from_list({})->empty());
  EXPECT_TRUE(CorsPolicy::from_list({"none"})->empty());
}

TEST(BodyBudget, SharesAreGivenBack) {
  const auto budget = std::make_shared<BodyBudget>(100);
  {
    BodyShare first(budget), second(budget);
    EXPECT_TRUE(first.grow_to(60));
    EXPECT_FALSE(second.grow_to(50));
    EXPECT_TRUE(second.grow_to(40));
    EXPECT_TRUE(first.grow_to(10)) << "never smaller";
    EXPECT_FALSE(budget->has_room(1));
  }
  EXPECT_EQ(budget->used(), 0u);
}

}  // namespace
}  // namespace conclave::coordinator
