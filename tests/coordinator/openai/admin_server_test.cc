#include "coordinator/admin/admin_server.h"

#include <gtest/gtest.h>

#include "tests/coordinator/openai/fake_engine.h"
#include "tests/coordinator/openai/http_client.h"

namespace conclave::coordinator {
namespace {

TEST(AdminServer, ServesMetricsAndHealthAndNothingElse) {
  FakeEngine engine;
  Metrics metrics("1.2", "m");
  const auto server = AdminServer::start({}, engine, metrics);
  ASSERT_TRUE(server.ok()) << server.status();
  const uint16_t port = (*server)->port();
  const ClientResponse scraped = http_get(port, "/metrics");
  EXPECT_EQ(scraped.status, 200);
  EXPECT_EQ(scraped.headers.at("content-type"), "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_NE(scraped.body.find("conclave_build_info{"), std::string::npos);
  EXPECT_NE(http_get(port, "/health").body.find("\"group_state\":\"ready\""), std::string::npos);
  EXPECT_EQ(http_get(port, "/v1/models").status, 404);
}

}  // namespace
}  // namespace conclave::coordinator
