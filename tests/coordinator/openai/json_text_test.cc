#include "coordinator/http/json_text.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>

#include "coordinator/http/error_response.h"

namespace conclave::coordinator {
namespace {

TEST(JsonText, AnyBytesGiveAStringThatParses) {
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    std::string bytes(random() % 12, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    const auto parsed = nlohmann::json::parse(json_string(bytes), nullptr, false);
    ASSERT_FALSE(parsed.is_discarded());
    EXPECT_EQ(parsed.get<std::string>(), valid_utf8(bytes));
  }
}

TEST(JsonText, ValidTextSurvives) {
  const std::string text = "a\"\\\n\t\x01 é 漢 🦀 \x7f";
  EXPECT_EQ(nlohmann::json::parse(json_string(text)).get<std::string>(), text);
}

TEST(JsonText, OverlongSurrogateAndTruncatedFormsAreNoCharacters) {
  EXPECT_EQ(utf8_character_bytes("\xC0\x80"), 0u);
  EXPECT_EQ(utf8_character_bytes("\xE0\x80\x80"), 0u);
  EXPECT_EQ(utf8_character_bytes("\xED\xA0\x80"), 0u);
  EXPECT_EQ(utf8_character_bytes("\xF4\x90\x80\x80"), 0u);
  EXPECT_EQ(utf8_character_bytes("\xE6\xBC"), 0u);
  EXPECT_EQ(utf8_character_bytes("🦀x"), 4u);
  EXPECT_EQ(count_code_points("é漢🦀x"), 4);
}

TEST(JsonText, LogprobsAreFlooredNumbersWithAFraction) {
  const auto text = [](float value) {
    std::string out;
    append_json_logprob(&out, value);
    return out;
  };
  EXPECT_EQ(text(-0.5f), "-0.5");
  EXPECT_EQ(text(-1.0f), "-1.0");
  EXPECT_EQ(text(0.1f), "0.1");
  EXPECT_EQ(text(-std::numeric_limits<float>::infinity()), "-9999.0");
  EXPECT_EQ(text(std::nanf("")), "-9999.0");
}

TEST(ErrorJson, HasTheFourFieldsOfTheApi) {
  EXPECT_EQ(
      error_json(bad_request("No \"n\".", "n", "invalid_value")),
      R"({"error":{"message":"No \"n\".","type":"invalid_request_error","param":"n","code":"invalid_value"}})");
  EXPECT_EQ(error_json(bad_request("x", std::nullopt, std::nullopt)),
            R"({"error":{"message":"x","type":"invalid_request_error","param":null,"code":null}})");
}

}  // namespace
}  // namespace conclave::coordinator
