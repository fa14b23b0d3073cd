#include "coordinator/http/api_keys.h"

#include <gtest/gtest.h>

namespace conclave::coordinator {
namespace {

TEST(ApiKeys, OneKeyALineWithoutBlanksAndComments) {
  const auto keys = ApiKeys::from_text("# team\nalpha\r\n\n  beta  \n", "keys");
  ASSERT_TRUE(keys.ok());
  EXPECT_TRUE(keys->accepts("alpha"));
  EXPECT_TRUE(keys->accepts("beta"));
  for (const char* wrong : {"", "alph", "alphaa", "Alpha", "# team", "gamma"})
    EXPECT_FALSE(keys->accepts(wrong)) << wrong;
}

TEST(ApiKeys, FileWithoutAKeyIsAnError) {
  const auto keys = ApiKeys::from_text("\n# nothing\n", "keys.txt");
  ASSERT_FALSE(keys.ok());
  EXPECT_NE(keys.status().message().find("keys.txt"), std::string::npos);
  EXPECT_FALSE(ApiKeys::from_file("/nonexistent/keys").ok());
}

TEST(ApiKeys, HeaderNeedsTheBearerScheme) {
  const ApiKeys keys = *ApiKeys::from_text("alpha", "keys");
  EXPECT_FALSE(keys.check("Bearer alpha").has_value());
  EXPECT_FALSE(keys.check("bearer alpha").has_value());
  for (const char* wrong : {"", "alpha", "Basic alpha", "Bearer ", "Bearer beta"}) {
    const auto error = keys.check(wrong);
    ASSERT_TRUE(error.has_value()) << wrong;
    EXPECT_EQ(error->status, 401);
    EXPECT_EQ(error->code, "invalid_api_key");
  }
  EXPECT_FALSE(ApiKeys().check("").has_value());
}

}  // namespace
}  // namespace conclave::coordinator
