#include "coordinator/http/router.h"

#include <gtest/gtest.h>

namespace conclave::coordinator {
namespace {

class RecordingResponder : public HttpResponder {
 public:
  void respond(int status, HttpHeaders headers, std::string body) override {
    this->status = status;
    this->headers.headers = std::move(headers);
    this->body = std::move(body);
  }
  void begin_stream(int, HttpHeaders, HttpHeartbeat) override {}
  void write(std::string) override {}
  void finish() override {}
  void on_disconnect(std::function<void()>) override {}
  void post(std::function<void()> task) override { task(); }
  void post_after(std::chrono::milliseconds, std::function<void()>) override {}

  int status = 0;
  HttpRequest headers;
  std::string body;
};

class RouterTest : public testing::Test {
 protected:
  RouterTest() {
    router_.add("GET", "/models", answer("list"));
    router_.add("GET", "/models/*", answer("one "));
    router_.add("POST", "/models", answer("made"));
  }
  static RouteHandler answer(std::string text) {
    return [text](HttpRequest, const std::string& rest, std::shared_ptr<HttpResponder> responder) {
      responder->respond(200, {}, text + rest);
    };
  }
  std::shared_ptr<RecordingResponder> ask(const std::string& method, const std::string& path) {
    HttpRequest request;
    request.method = method;
    request.path = path;
    auto responder = std::make_shared<RecordingResponder>();
    router_.handle(std::move(request), responder);
    return responder;
  }
  Router router_;
};

TEST_F(RouterTest, PathsMethodsAndPrefixesFindTheirHandler) {
  EXPECT_EQ(ask("GET", "/models")->body, "list");
  EXPECT_EQ(ask("HEAD", "/models")->body, "list");
  EXPECT_EQ(ask("POST", "/models")->body, "made");
  EXPECT_EQ(ask("GET", "/models/a/b")->body, "one a/b");
}

TEST_F(RouterTest, UnknownPathIs404AndWrongMethodIs405WithAllow) {
  EXPECT_EQ(ask("GET", "/nowhere")->status, 404);
  EXPECT_EQ(ask("GET", "/models/")->status, 404);
  const auto wrong = ask("DELETE", "/models");
  EXPECT_EQ(wrong->status, 405);
  EXPECT_EQ(wrong->headers.header("allow"), "GET, HEAD, POST, OPTIONS");
  EXPECT_EQ(ask("OPTIONS", "/models")->status, 204);
}

TEST_F(RouterTest, LabelsAreBounded) {
  EXPECT_EQ(router_.label_of("/models/anything"), "/models/*");
  EXPECT_EQ(router_.label_of("/random"), "other");
}

TEST_F(RouterTest, OptionsOfTheServerItself) { EXPECT_EQ(ask("OPTIONS", "*")->status, 204); }

}  // namespace
}  // namespace conclave::coordinator
