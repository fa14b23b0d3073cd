#include "tests/coordinator/openai/api_fixture.h"

namespace conclave::coordinator {
namespace {

class InfoApiTest : public ApiTest {};

TEST_F(InfoApiTest, ModelsAreListedAndRetrieved) {
  ApiServerOptions options;
  options.model_name = "org/model";
  start(options);
  const auto list = nlohmann::json::parse(http_get(port(), "/v1/models").body);
  EXPECT_EQ(list["object"], "list");
  ASSERT_EQ(list["data"].size(), 1u);
  const auto& model = list["data"][0];
  EXPECT_EQ(model["id"], "org/model");
  EXPECT_EQ(model["object"], "model");
  EXPECT_EQ(model["owned_by"], "conclave");
  EXPECT_EQ(model["max_model_len"], 128);
  EXPECT_GT(model["created"].get<int64_t>(), 0);
  for (const char* path : {"/v1/models/org/model", "/v1/models/org%2Fmodel"}) {
    EXPECT_EQ(nlohmann::json::parse(http_get(port(), path).body), model) << path;
  }
  const ClientResponse missing = http_get(port(), "/v1/models/none");
  EXPECT_EQ(missing.status, 404);
  EXPECT_EQ(error_of(missing)["code"], "model_not_found");
}

TEST_F(InfoApiTest, VersionNamesWhatComputes) {
  start();
  const auto version = nlohmann::json::parse(http_get(port(), "/version").body);
  EXPECT_EQ(version["kernel_set"], "reference");
  EXPECT_EQ(version["compute"], "f32");
  EXPECT_EQ(version["transport"], "local");
  EXPECT_EQ(version["model_fingerprint"], "0123456789abcdef");
  EXPECT_EQ(version["system_fingerprint"], "fp_reference_f32_01234567");
}

TEST_F(InfoApiTest, HealthIsLiveWhateverTheGroupDoes) {
  start();
  engine_.set_status([](EngineStatus& status) {
    status.state = GroupState::kFailed;
    status.last_failure = "rank 1 on host b: no heartbeat for 2.0 s in exchange of layer 3";
    status.restarts = 2;
    status.ranks.resize(2);
    status.ranks[1].rank = 1;
    status.ranks[1].host = "b";
  });
  const ClientResponse response = http_get(port(), "/health");
  EXPECT_EQ(response.status, 200);
  const auto health = nlohmann::json::parse(response.body);
  EXPECT_EQ(health["status"], "failed");
  EXPECT_EQ(health["group_state"], "failed");
  EXPECT_EQ(health["restarts"], 2);
  EXPECT_NE(health["last_failure"].get<std::string>().find("layer 3"), std::string::npos);
  EXPECT_EQ(health["ranks"][1]["host"], "b");
}

TEST_F(InfoApiTest, EveryAnswerCarriesARequestId) {
  start();
  for (const char* path : {"/v1/models", "/health", "/nowhere"}) {
    EXPECT_NE(http_get(port(), path).headers["x-request-id"], "") << path;
  }
}

}  // namespace
}  // namespace conclave::coordinator
