#include "coordinator/chat_template/chat_variables.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "coordinator/chat_template/chat_template.h"

namespace conclave::coordinator {
namespace {

using Json = nlohmann::ordered_json;

ChatVariables chat_of(const char* messages) {
  ChatVariables chat;
  chat.messages = Json::parse(messages);
  return chat;
}

std::string rendered(const char* text, ChatVariables chat) {
  const auto variables = chat_variables(std::move(chat));
  if (!variables.ok()) return std::string(variables.status().message());
  const auto shown = ChatTemplate::parse(text, "t").value()->render(*variables);
  return shown.ok() ? *shown : std::string(shown.status().message());
}

std::string arguments_shown(const std::string& arguments) {
  Json call = {{"function", {{"name", "f"}, {"arguments", arguments}}}};
  ChatVariables chat;
  chat.messages = Json::array({{{"role", "assistant"}, {"tool_calls", Json::array({call})}}});
  return rendered(
      "{% set a = messages[0].tool_calls[0].function.arguments %}{{ a is mapping }} {{ a|tojson }}",
      chat);
}

TEST(ChatVariables, NullKeysOfMessagesAreGone) {
  const auto variables =
      chat_variables(chat_of(R"([{"role":"user","name":null,"content":"x","n":{"k":null}}])"));
  EXPECT_EQ(variables.value()["messages"].dump(),
            R"([{"role":"user","content":"x","n":{"k":null}}])");
}

TEST(ChatVariables, ToolsAndDocumentsAreNoneUnlessSet) {
  constexpr const char* kText =
      "{{ tools is none }}{{ documents is none }}{% if tools is not none %}T{% endif %}";
  EXPECT_EQ(rendered(kText, chat_of("[]")), "TrueTrue");
  ChatVariables chat = chat_of("[]");
  chat.arguments = {{"tools", Json::array({1})}};
  EXPECT_EQ(rendered(kText, chat), "FalseTrueT");
}

TEST(ChatVariables, ToolArgumentsAreObjectsWhereTheTextIsOne) {
  EXPECT_EQ(arguments_shown(R"({"b": 1, "a": "x"})"), R"(True {"b": 1, "a": "x"})");
  EXPECT_EQ(arguments_shown(""), "True {}");
  EXPECT_EQ(arguments_shown("not json"), "False \"not json\"");
  EXPECT_EQ(arguments_shown("[1]"), "False \"[1]\"");
  EXPECT_EQ(arguments_shown("{\"a\": 1"), R"(False "{\"a\": 1")");
}

TEST(ChatVariables, ANumberThatWouldChangeIsRefused) {
  EXPECT_THAT(arguments_shown(R"({"id": 123456789012345678901234567890})"),
              testing::HasSubstr("messages[0].tool_calls[0].function.arguments: the number "
                                 "123456789012345678901234567890 does not fit"));
  EXPECT_THAT(arguments_shown(R"({"id": -9223372036854775809})"),
              testing::HasSubstr("does not fit"));
  EXPECT_THAT(arguments_shown(R"({"id": 18446744073709551615})"),
              testing::HasSubstr("does not fit"));
  EXPECT_EQ(arguments_shown(R"({"id": 9223372036854775807, "s": "\"99999999999999999999"})"),
            R"(True {"id": 9223372036854775807, "s": "\"99999999999999999999"})");
  EXPECT_EQ(arguments_shown(R"({"x": 12345678901234567890.5e1})"),
            R"(True {"x": 1.2345678901234568e+20})");
}

TEST(ChatVariables, ReasoningHasTheNamesThatTemplatesRead) {
  constexpr const char* kText =
      "{{ messages[0].reasoning_content }}|{{ messages[0].thinking }}|{{ messages[0].reasoning }}";
  EXPECT_EQ(rendered(kText, chat_of(R"([{"role":"assistant","reasoning":"r"}])")), "r|r|r");
  EXPECT_EQ(rendered(kText, chat_of(R"([{"role":"assistant","thinking":"t"}])")), "t|t|");
  EXPECT_EQ(rendered(kText, chat_of(R"([{"role":"assistant","reasoning_content":"c"}])")), "c|c|");
  EXPECT_EQ(
      rendered(kText, chat_of(R"([{"role":"assistant","reasoning_content":"c","thinking":"t"}])")),
      "c|t|");
  EXPECT_EQ(rendered(kText,
                     chat_of(R"([{"role":"assistant","reasoning_content":null,"reasoning":"r"}])")),
            "r|r|r");
}

TEST(ChatVariables, EffortIsAVariableAndSetsThinking) {
  constexpr const char* kText = "{{ reasoning_effort }}|{{ enable_thinking }}";
  ChatVariables chat = chat_of("[]");
  EXPECT_EQ(rendered(kText, chat), "|");
  chat.reasoning_effort = "none";
  EXPECT_EQ(rendered(kText, chat), "none|False");
  chat.reasoning_effort = "low";
  EXPECT_EQ(rendered(kText, chat), "low|True");
  chat.arguments = {{"enable_thinking", false}};
  EXPECT_EQ(rendered(kText, chat), "low|False");
}

TEST(ChatVariables, ArgumentsOfTheRequestWinOverTokensButNotOverMessages) {
  ChatVariables chat = chat_of(R"([{"role":"user","content":"x"}])");
  chat.special_tokens = {{"eos_token", "</s>"}, {"pad_token", "<pad>"}};
  chat.arguments = {
      {"pad_token", "p"}, {"messages", Json::array()}, {"add_generation_prompt", false}};
  EXPECT_EQ(
      rendered("{{ eos_token }}{{ pad_token }}{{ messages|length }}{{ add_generation_prompt }}",
               chat),
      "</s>p1False");
}

}  // namespace
}  // namespace conclave::coordinator
