#include "coordinator/admin/admin_server.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <map>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "coordinator/http/error_response.h"
#include "tests/coordinator/openai/fake_engine.h"
#include "tests/coordinator/openai/http_client.h"

namespace conclave::coordinator {
namespace {

using Json = nlohmann::json;

// The whole answer to a GET over a Unix socket.
std::string ask_socket(const std::string& path, const std::string& target) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  std::string answer;
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    const std::string request =
        "GET " + target + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    EXPECT_EQ(::send(fd, request.data(), request.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(request.size()));
    char bytes[4096];
    for (ssize_t got; (got = ::recv(fd, bytes, sizeof bytes, 0)) > 0;)
      answer.append(bytes, static_cast<size_t>(got));
  }
  ::close(fd);
  return answer;
}

class AdminServerTest : public ::testing::Test {
 protected:
  void start(AdminOptions options = {}) {
    AdminParts parts;
    parts.engine = &engine_;
    parts.metrics = &metrics_;
    parts.version = "1.2";
    parts.model_name = "m";
    parts.spec.experts = 4;
    parts.spec.top_k = 2;
    parts.spec.layer = {{.moe = true}, {.moe = false}, {.moe = true}};
    parts.config = {{"ranks", "2"}};
    parts.generate = [](HttpRequest request, std::shared_ptr<HttpResponder> responder) {
      respond_json(*responder, 200, "{\"echo\":" + request.body + "}");
    };
    parts.routes.push_back([](Router& router) {
      router.add("GET", "/admin/v1/placement",
                 [](HttpRequest, const std::string&, std::shared_ptr<HttpResponder> responder) {
                   respond_json(*responder, 200, "{}");
                 });
    });
    auto server = AdminServer::start(std::move(options), std::move(parts));
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = std::move(*server);
  }
  ClientResponse get(const std::string& path) { return http_get(server_->port(), path); }
  Json get_json(const std::string& path) {
    const ClientResponse answer = get(path);
    EXPECT_EQ(answer.status, 200) << path << " " << answer.body;
    return Json::parse(answer.body);
  }
  ClientResponse send(const std::string& method, const std::string& path,
                      const std::string& body = "", const std::string& headers = "") {
    HttpClient client(server_->port());
    EXPECT_TRUE(client.send(method + " " + path + " HTTP/1.1\r\nHost: localhost\r\n" + headers +
                            "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body));
    return client.read_response();
  }
  size_t submit(const std::string& request_id) {
    GenerationRequest request;
    request.request_id = request_id;
    request.prompt = {1, 2, 3};
    EXPECT_TRUE(engine_.submit(request, std::make_shared<Quiet>()).ok());
    return engine_.submitted() - 1;
  }

  class Quiet : public GenerationListener {
    void on_token(GeneratedToken) override {}
    void on_end(GenerationEnd) override {}
  };
  FakeEngine engine_;
  Metrics metrics_{{"1.2", "m"}};
  std::unique_ptr<AdminServer> server_;
};

TEST_F(AdminServerTest, ServesMetricsAndHealth) {
  start();
  const ClientResponse scraped = get("/metrics");
  EXPECT_EQ(scraped.status, 200);
  EXPECT_EQ(scraped.headers.at("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_NE(scraped.body.find("conclave_build_info{"), std::string::npos);
  EXPECT_NE(get("/health").body.find("\"group_state\":\"ready\""), std::string::npos);
  EXPECT_EQ(get("/v1/models").status, 404);
  EXPECT_EQ(get("/admin/v1/placement").status, 200);
  EXPECT_EQ(get("/admin/v1/nothing").status, 404);
}

TEST_F(AdminServerTest, EveryDocumentIsVersionedAndNamesItsKind) {
  start();
  for (const char* kind : {"status", "health", "ranks", "requests", "experts", "model", "config",
                           "version", "history", "logs", "admission", "trace"}) {
    const Json json = get_json(std::string("/admin/v1/") + kind);
    EXPECT_EQ(json["version"], 1) << kind;
    EXPECT_EQ(json["kind"], kind);
  }
  EXPECT_EQ(get_json("/admin/v1/config")["settings"]["ranks"], "2");
  EXPECT_EQ(get_json("/admin/v1/experts")["layers"].size(), 2u);
  EXPECT_EQ(get_json("/admin/v1/experts")["layers"][1]["layer"], 2);
}

TEST_F(AdminServerTest, ExpertsAreShownByLayerOnceTheyAreCounted) {
  start();
  EXPECT_FALSE(get_json("/admin/v1/experts")["per_expert"]);
  metrics_.routing_reported(
      std::vector{protocol::RoutingCounts{3, {{1, 5}, {4, 2}}, {}, {}, {}, {}}});
  const Json experts = get_json("/admin/v1/experts");
  EXPECT_TRUE(experts["per_expert"]);
  EXPECT_EQ(experts["layers"][0]["expert_rows"], Json::parse("[0.0, 5.0, 0.0, 0.0]"));
  EXPECT_EQ(experts["layers"][1]["expert_rows"], Json::parse("[2.0, 0.0, 0.0, 0.0]"));
}

TEST_F(AdminServerTest, HealthNamesWhatIsWrong) {
  start();
  EXPECT_EQ(get_json("/admin/v1/health")["health"], "OK");
  engine_.set_status([](EngineStatus& status) {
    status.kv_blocks = 10;
    status.kv_blocks_used = 10;
    status.ranks.resize(2);
    status.ranks[0].connected = true;
    status.ranks[0].operation = "idle";
    status.ranks[1].rank = 1;
    status.ranks[1].host = "node7";
  });
  const Json health = get_json("/admin/v1/health");
  EXPECT_EQ(health["health"], "ERROR");
  ASSERT_EQ(health["checks"].size(), 2u);
  EXPECT_EQ(health["checks"][0]["code"], "RANK_DOWN");
  EXPECT_NE(health["checks"][0]["details"][0].get<std::string>().find("node7"), std::string::npos);
  EXPECT_EQ(health["checks"][1]["code"], "KV_NEARLY_FULL");
}

TEST_F(AdminServerTest, CordonNeedsAReasonAndUndrainEndsIt) {
  start();
  EXPECT_EQ(send("POST", "/admin/v1/cordon").status, 400);
  EXPECT_EQ(send("POST", "/admin/v1/cordon", R"({"reason":7})").status, 400);
  EXPECT_TRUE(get_json("/admin/v1/admission")["open"]);
  const ClientResponse closed = send("POST", "/admin/v1/drain", R"({"reason":"new disks"})");
  EXPECT_EQ(closed.status, 200);
  const Json admission = get_json("/admin/v1/admission");
  EXPECT_FALSE(admission["open"]);
  EXPECT_EQ(admission["reason"], "new disks");
  EXPECT_EQ(get_json("/admin/v1/health")["checks"][0]["code"], "CORDONED");
  EXPECT_EQ(send("POST", "/admin/v1/undrain").status, 200);
  EXPECT_TRUE(get_json("/admin/v1/admission")["open"]);
}

TEST_F(AdminServerTest, ARequestIsCancelledByItsIdOrItsNumber) {
  start();
  const size_t first = submit("mine");
  const size_t second = submit("other");
  EXPECT_EQ(get_json("/admin/v1/requests")["requests"].size(), 2u);
  EXPECT_EQ(send("DELETE", "/admin/v1/requests/unknown").status, 404);
  EXPECT_EQ(send("DELETE", "/admin/v1/requests/mine").status, 200);
  EXPECT_TRUE(engine_.cancelled(first));
  EXPECT_FALSE(engine_.cancelled(second));
  EXPECT_EQ(send("DELETE", "/admin/v1/requests/2").status, 200);
  EXPECT_TRUE(engine_.cancelled(second));
}

TEST_F(AdminServerTest, LogLevelChangesHereAndOnTheRanks) {
  start();
  const LogLevel before = log_level();
  EXPECT_EQ(send("POST", "/admin/v1/log-level", R"({"level":"loud"})").status, 400);
  EXPECT_FALSE(engine_.rank_log_level().has_value());
  EXPECT_EQ(send("POST", "/admin/v1/log-level", R"({"level":"error"})").status, 200);
  EXPECT_EQ(log_level(), LogLevel::kError);
  EXPECT_EQ(engine_.rank_log_level(), LogLevel::kError);
  set_log_level(before);
}

TEST_F(AdminServerTest, TraceIsChromesFormat) {
  start();
  EXPECT_EQ(send("POST", "/admin/v1/trace/start", R"({"steps":0})").status, 400);
  EXPECT_EQ(send("POST", "/admin/v1/trace/start", R"({"steps":5})").status, 200);
  EXPECT_TRUE(get_json("/admin/v1/trace")["running"]);
  const Json trace = Json::parse(send("POST", "/admin/v1/trace/stop").body);
  std::map<std::string, Json> by_name;
  for (const Json& event : trace["traceEvents"]) by_name[event["name"]] = event;
  EXPECT_EQ(by_name.at("attention")["cat"], "attention");
  EXPECT_EQ(by_name.at("attention")["ph"], "X");
  EXPECT_EQ(by_name.at("attention")["ts"], 500000.0);
  EXPECT_EQ(by_name.at("dispatch wait")["cat"], "exchange");
  EXPECT_EQ(by_name.at("dispatch wait")["dur"], 2000.0);
  EXPECT_EQ(by_name.at("step 7")["dur"], 4000.0);
  EXPECT_FALSE(get_json("/admin/v1/trace")["running"]);
}

TEST_F(AdminServerTest, WithAKeyEverythingButThePageIsClosed) {
  AdminOptions options;
  options.keys = *ApiKeys::from_text("secret", "test");
  start(std::move(options));
  for (const char* path : {"/metrics", "/health", "/admin/v1/status", "/admin/v1/nothing"}) {
    const ClientResponse answer = get(path);
    EXPECT_EQ(answer.status, 401) << path;
    EXPECT_NE(answer.body.find("invalid_admin_key"), std::string::npos);
    EXPECT_EQ(answer.body.find("conclave_"), std::string::npos);
  }
  EXPECT_EQ(get("/ui").status, 200);
  EXPECT_EQ(send("GET", "/admin/v1/status", "", "Authorization: Bearer secret\r\n").status, 200);
  EXPECT_EQ(send("GET", "/admin/v1/status", "", "Authorization: Bearer wrong\r\n").status, 401);
}

TEST_F(AdminServerTest, BeyondLoopbackWithoutAKeyThereAreNoVerbs) {
  AdminOptions options;
  options.http.address = "0.0.0.0";
  start(std::move(options));
  EXPECT_EQ(get("/metrics").status, 200);
  const ClientResponse refused = get("/admin/v1/status");
  EXPECT_EQ(refused.status, 403);
  EXPECT_NE(refused.body.find("--admin-key-file"), std::string::npos);
  EXPECT_EQ(send("POST", "/admin/v1/drain", R"({"reason":"x"})").status, 403);
}

TEST_F(AdminServerTest, PagesOfOtherSitesAreRefused) {
  start();
  EXPECT_EQ(send("POST", "/admin/v1/undrain", "", "Origin: http://evil.example\r\n").status, 403);
  EXPECT_EQ(send("GET", "/admin/v1/status", "", "Sec-Fetch-Site: cross-site\r\n").status, 403);
  EXPECT_EQ(send("GET", "/admin/v1/status", "", "Sec-Fetch-Site: same-origin\r\n").status, 200);
}

TEST_F(AdminServerTest, NamesThatOnlyBeginLikeLoopbackAreOtherSites) {
  start();
  for (const char* host : {"127.evil.example", "127.0.0.1.evil", "localhost.evil"}) {
    HttpClient client(server_->port());
    client.send("POST /admin/v1/undrain HTTP/1.1\r\nHost: " + std::string(host) +
                "\r\nOrigin: http://" + host + "\r\nSec-Fetch-Site: same-origin\r\n\r\n");
    EXPECT_EQ(client.read_response().status, 403) << host;
  }
}

// The last log lines that speak of an admin request.
std::vector<std::string> audit_lines() {
  std::vector<std::string> lines;
  for (std::string& line : recent_log_lines()) {
    if (line.find("admin act") != std::string::npos || line.find("admin request refused") != std::string::npos)
      lines.push_back(std::move(line));
  }
  return lines;
}

TEST_F(AdminServerTest, WhatAnOperatorChangesIsLoggedWithWhoDidIt) {
  start();
  const size_t before = audit_lines().size();
  send("GET", "/admin/v1/status");  // changes nothing
  send("POST", "/admin/v1/cordon", R"({"reason":"new disks"})", "x-request-id: mine\r\n");
  send("POST", "/admin/v1/undrain");
  send("POST", "/admin/v1/trace/start", R"({"steps":0})");
  const auto lines = audit_lines();
  ASSERT_EQ(lines.size(), before + 3);
  const std::string& cordon = lines[before];
  for (const std::string& part : {std::string("POST /admin/v1/cordon"), std::string("new disks"),
                                  "uid " + std::to_string(::geteuid()), std::string("127.0.0.1:"),
                                  std::string("mine"), std::string("200")})
    EXPECT_NE(cordon.find(part), std::string::npos) << part << " in " << cordon;
  EXPECT_NE(lines[before + 2].find("400"), std::string::npos) << lines[before + 2];
}

TEST_F(AdminServerTest, TheLogNamesTheKeyAndRefusedAttempts) {
  AdminOptions options;
  options.keys = *ApiKeys::from_text("secret name=alice", "test");
  start(std::move(options));
  const size_t before = audit_lines().size();
  send("POST", "/admin/v1/undrain", "", "Authorization: Bearer secret\r\n");
  send("POST", "/admin/v1/undrain", "", "Authorization: Bearer wrong\r\n");
  const auto lines = audit_lines();
  ASSERT_EQ(lines.size(), before + 2);
  EXPECT_NE(lines[before].find("key alice"), std::string::npos) << lines[before];
  EXPECT_NE(lines[before + 1].find("refused"), std::string::npos) << lines[before + 1];
  for (const std::string& line : lines) EXPECT_EQ(line.find("secret"), std::string::npos) << line;
}

TEST_F(AdminServerTest, PromptsOfThePageReachTheApi) {
  start();
  EXPECT_EQ(send("POST", "/v1/chat/completions", "{\"a\":1}").body, "{\"echo\":{\"a\":1}}");
}

TEST_F(AdminServerTest, AUnixSocketAnswersForItsOwnerOnly) {
  AdminOptions options;
  options.socket_path = ::testing::TempDir() + "conclave-admin-" + std::to_string(getpid());
  const std::string path = options.socket_path;
  start(options);
  struct stat info {};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_TRUE(ask_socket(path, "/admin/v1/status").starts_with("HTTP/1.1 200"));
  server_->stop(std::chrono::milliseconds(0));
  EXPECT_NE(::stat(path.c_str(), &info), 0) << "the socket stays behind";
  start(options);  // and its place can be taken again
}

TEST_F(AdminServerTest, ThePageBringsAllItNeeds) {
  start();
  const ClientResponse page = get("/ui");
  EXPECT_EQ(page.headers.at("content-type"), "text/html; charset=utf-8");
  EXPECT_NE(page.headers.at("content-security-policy").find("default-src 'none'"),
            std::string::npos);
  EXPECT_EQ(get("/ui/page.css").status, 200);
  EXPECT_EQ(get("/ui/page.js").status, 200);
  EXPECT_EQ(page.body.find("http://"), std::string::npos);
  EXPECT_EQ(page.body.find("https://"), std::string::npos);
}

}  // namespace
}  // namespace conclave::coordinator
