#include "coordinator/openai/request_json.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace conclave::coordinator {
namespace {

bool accepted(const std::string& text) {
  Json object;
  return !parse_json_object(text, &object).has_value();
}

TEST(RequestJson, ValuesAndKeyOrderSurvive) {
  Json object;
  const std::string text = R"({"z":1,"a":[-2,3.5,true,null,"é\n"],"m":{"k":{}}})";
  ASSERT_FALSE(parse_json_object(text, &object).has_value());
  EXPECT_EQ(object.dump(), text);
}

TEST(RequestJson, WhatIsNoObjectOfStrictJsonIsRefused) {
  for (const char* bad :
       {"", "{", "[]", "1", "null", "{\"a\":}", "{\"a\":1,}", "{'a':1}", "{\"a\":NaN}",
        "{\"a\":Infinity}", "{\"a\":1e999}", "{\"a\":01}", "{\"a\":1} x", "{\"a\":\"\xff\"}",
        "{\"a\":\"\xc3\"}", "{\"\xed\xa0\x80\":1}", "{\"a\":\"\\ud800\"}", "{\"a\":\"\n\"}",
        "\xef\xbb"}) {
    EXPECT_FALSE(accepted(bad)) << bad;
  }
}

TEST(RequestJson, DuplicateKeysAreRefusedInSmallAndLargeObjects) {
  EXPECT_FALSE(accepted(R"({"a":1,"a":2})"));
  EXPECT_FALSE(accepted(R"({"x":[{"b":1,"b":1}]})"));
  EXPECT_TRUE(accepted(R"({"x":[{"b":1},{"b":1}],"b":1})"));
  std::string large = "{\"k0\":0";
  for (int i = 1; i < 5000; ++i) large += ",\"k" + std::to_string(i) + "\":0";
  EXPECT_TRUE(accepted(large + "}"));
  EXPECT_FALSE(accepted(large + ",\"k4321\":0}"));
}

TEST(RequestJson, DepthIsBounded) {
  const auto nested = [](int depth) {
    return "{\"a\":" + std::string(static_cast<size_t>(depth - 1), '[') +
           std::string(static_cast<size_t>(depth - 1), ']') + "}";
  };
  EXPECT_TRUE(accepted(nested(kMaxJsonDepth)));
  EXPECT_FALSE(accepted(nested(kMaxJsonDepth + 1)));
  EXPECT_FALSE(accepted("{\"a\":" + std::string(4'000'000, '[')));
  std::string objects;
  for (int i = 0; i < 500'000; ++i) objects += "{\"a\":";
  EXPECT_FALSE(accepted(objects));
}

TEST(RequestJson, ErrorNamesTheByteAndIsItselfCleanText) {
  Json object;
  const auto error = parse_json_object("{\"a\": oops}", &object);
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->status, 400);
  EXPECT_EQ(error->code, "invalid_json");
  EXPECT_NE(error->message.find("byte 7"), std::string::npos) << error->message;
}

// Whatever the strict builder accepts, the library's own parser reads as the same document.
TEST(RequestJson, AgreesWithTheLibraryOnMutatedDocuments) {
  const std::string seed = R"({"a":[1,-2.5e3,"x\u00e9"],"b":{"c":true,"d":null},"e":"f"})";
  std::mt19937 random(7);
  int accepted_count = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string text = seed;
    for (int edits = static_cast<int>(random() % 3); edits >= 0; --edits) {
      text[random() % text.size()] = "{}[],:\"0123456789.eaxtn\\ -"[random() % 27];
    }
    Json mine;
    if (parse_json_object(text, &mine).has_value()) continue;
    ++accepted_count;
    EXPECT_EQ(mine, Json::parse(text, nullptr, false)) << text;
  }
  EXPECT_GT(accepted_count, 100);
}

}  // namespace
}  // namespace conclave::coordinator
