#include "coordinator/chat_template/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

namespace conclave::coordinator {
namespace {

using Json = nlohmann::ordered_json;
using testing::HasSubstr;

// A fresh folder per test, removed at the end.
class FolderTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::path(testing::TempDir()) /
              (std::string("chat_template_") + test->name());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void write(const std::string& name, const std::string& content) {
    std::ofstream(folder_ / name) << content;
  }
  absl::StatusOr<std::string> rendered(const Json& variables = Json::object()) {
    const auto loaded = ChatTemplate::from_folder(folder_.string());
    if (!loaded.ok()) return loaded.status();
    return (*loaded)->render(variables);
  }
  std::filesystem::path folder_;
};

TEST_F(FolderTest, TemplateFileWinsOverConfig) {
  write("chat_template.jinja", "file");
  write("tokenizer_config.json", R"({"chat_template": "config"})");
  EXPECT_EQ(rendered().value(), "file");
}

TEST_F(FolderTest, ConfigStringIsUsed) {
  write("tokenizer_config.json",
        R"({"chat_template": "config {{ bos_token }}", "bos_token": {"content": "<s>"}})");
  EXPECT_EQ(rendered(Json{{"bos_token", "<s>"}}).value(), "config <s>");
}

TEST_F(FolderTest, ListTakesTheDefaultEntry) {
  write("tokenizer_config.json", R"({"chat_template": [{"name": "tool_use", "template": "tools"},
      {"name": "default", "template": "plain"}]})");
  EXPECT_EQ(rendered().value(), "plain");
}

TEST_F(FolderTest, RequestsWithToolsGetTheTemplateForThem) {
  write("tokenizer_config.json",
        R"({"chat_template": [{"name": "tool_use", "template": "{{ tools|length }} {{ a }}"},
      {"name": "default", "template": "plain {{ x|nope if y }}"}]})");
  EXPECT_EQ(rendered(Json{{"tools", nullptr}}).value(), "plain ");
  EXPECT_EQ(rendered(Json{{"tools", {1, 2}}}).value(), "2 ");
  const auto loaded = ChatTemplate::from_folder(folder_.string());
  EXPECT_TRUE((*loaded)->uses_variable("a") && (*loaded)->uses_variable("y"));
  EXPECT_THAT((*loaded)->warnings(),
              testing::ElementsAre(HasSubstr("tokenizer_config.json (default), line 1")));
  std::filesystem::create_directories(folder_ / "additional_chat_templates");
  write("chat_template.jinja", "file");
  EXPECT_EQ(rendered(Json{{"tools", {1}}}).value(), "file");
  write("additional_chat_templates/tool_use.jinja", "file with {{ tools|length }}");
  EXPECT_EQ(rendered(Json{{"tools", {1}}}).value(), "file with 1");
}

TEST_F(FolderTest, NoTemplateIsNotFound) {
  EXPECT_EQ(rendered().status().code(), absl::StatusCode::kNotFound);
  write("tokenizer_config.json", R"({"bos_token": "<s>", "chat_template": null})");
  EXPECT_EQ(rendered().status().code(), absl::StatusCode::kNotFound);
  write("tokenizer_config.json", R"({"chat_template": [{"name": "rag", "template": "x"}]})");
  EXPECT_EQ(rendered().status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(rendered().status().message()), HasSubstr(folder_.string()));
}

TEST_F(FolderTest, BrokenConfigIsNamed) {
  for (const char* content : {"{", "[]", R"({"chat_template": 7})"}) {
    write("tokenizer_config.json", content);
    const auto text = rendered();
    EXPECT_EQ(text.status().code(), absl::StatusCode::kInvalidArgument) << content;
    EXPECT_THAT(std::string(text.status().message()), HasSubstr("tokenizer_config.json"));
  }
}

TEST_F(FolderTest, SyntaxErrorNamesFileAndLine) {
  write("chat_template.jinja", "one\ntwo\n{% if %}\n");
  const auto text = rendered();
  EXPECT_EQ(text.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(text.status().message()), HasSubstr("chat_template.jinja, line 3: "));
}

TEST(ChatTemplate, DemoModelTemplateRendersItsTurns) {
  const auto loaded =
      ChatTemplate::from_folder(std::string(CONCLAVE_SOURCE_DIR) + "/assets/demo-moe");
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  const Json variables = {{"messages", {{{"role", "user"}, {"content", "Hi"}}}},
                          {"add_generation_prompt", true}};
  EXPECT_EQ((*loaded)->render(variables).value(),
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
}

TEST(ChatTemplate, RunTimeErrorNamesTemplateAndLine) {
  const auto parsed = ChatTemplate::parse("a\n{% set x = 1 %}\n{{ x +\n 'b' }}", "demo");
  const auto text = parsed.value()->render(Json::object());
  EXPECT_EQ(std::string(text.status().message()),
            "chat template demo, line 3: unsupported operand type(s) for +: 'int' and 'str'");
}

bool uses(const std::string& text, const char* name) {
  return ChatTemplate::parse(text, "d").value()->uses_variable(name);
}

TEST(ChatTemplate, SaysWhichVariablesItReads) {
  EXPECT_TRUE(uses("{{ reasoning_effort }}", "reasoning_effort"));
  EXPECT_TRUE(uses("{% if effort is not defined %}{% set effort = 1 %}{% endif %}", "effort"));
  EXPECT_TRUE(uses("{% macro m(a) %}{{ a }}{{ effort }}{% endmacro %}{{ m(1) }}", "effort"));
  EXPECT_TRUE(uses("{% for m in messages %}{% set effort = effort %}{% endfor %}", "effort"));
  EXPECT_TRUE(uses("{% if x %}{% set effort = 1 %}{% endif %}{{ effort }}", "effort"));
  EXPECT_FALSE(uses("{% set effort = 1 %}{{ effort }}", "effort"));
  EXPECT_FALSE(uses("{% for effort in messages %}{{ effort }}{% endfor %}", "effort"));
  EXPECT_FALSE(uses("{% macro m(effort) %}{{ effort }}{% endmacro %}{{ m(1) }}", "effort"));
  EXPECT_FALSE(uses("{% with effort = 1 %}{{ effort }}{% endwith %}effort", "effort"));
  EXPECT_FALSE(uses("{{ messages[0].effort }}", "effort"));
}

TEST(ChatTemplate, UnknownFiltersAndTestsAreFoundAtParseTime) {
  const auto error = [](const std::string& text) {
    return std::string(ChatTemplate::parse(text, "file").status().message());
  };
  EXPECT_EQ(error("a\n{{ x|nope }}"), "chat template file, line 2: No filter named 'nope'.");
  EXPECT_EQ(error("{{ x is nope }}"), "chat template file, line 1: No test named 'nope'.");
  EXPECT_THAT(error("{% filter nope %}x{% endfilter %}"), HasSubstr("'nope'"));
  EXPECT_THAT(error("{% set y | nope %}x{% endset %}"), HasSubstr("'nope'"));
  EXPECT_THAT(error("{% if 1 %}{% for a in b %}{{ [a|nope] }}{% endfor %}{% endif %}"),
              HasSubstr("'nope'"));
}

TEST(ChatTemplate, WhatFailsOnlyIfReachedIsAWarning) {
  const auto warnings = [](const std::string& text) {
    return ChatTemplate::parse(text, "file").value()->warnings();
  };
  EXPECT_THAT(warnings("{% if tools %}\n{{ x|nope }}{% endif %}"),
              testing::ElementsAre("chat template file, line 2: No filter named 'nope'."));
  EXPECT_THAT(warnings("{{ x|nope if y else 1 }}"), testing::SizeIs(1));
  EXPECT_THAT(warnings("{{ now() }}"), testing::ElementsAre(HasSubstr("it calls 'now'")));
  EXPECT_THAT(warnings("{% macro now() %}{% endmacro %}{{ now() }}{{ range(1) }}{{ x.now() }}"),
              testing::IsEmpty());
}

TEST(ChatTemplate, AFaultOfTheTemplateIsNotTheMessages) {
  const auto code = [](const char* text) {
    return ChatTemplate::parse(text, "d").value()->render(Json::object()).status().code();
  };
  EXPECT_EQ(code("{{ raise_exception('no') }}"), absl::StatusCode::kInvalidArgument);
  for (const char* text :
       {"{{ x.y.z }}", "{{ nobody() }}", "{{ 1 / 0 }}", "{{ 2 ** 64 }}", "{{ 'a'.encode() }}",
        "{{ lipsum() }}", "{% if 1 %}{{ x|nope }}{% endif %}",
        "{% set ns = namespace() %}{% set ns._x = 1 %}"}) {
    EXPECT_EQ(code(text), absl::StatusCode::kFailedPrecondition) << text;
  }
  EXPECT_EQ(code("{% for i in range(90000) %}{{ 'x' * 10000 }}{% endfor %}"),
            absl::StatusCode::kResourceExhausted);
}

TEST(ChatTemplate, NumbersBeyond64BitsAreRefusedAndNeverOthers) {
  const auto shown = [](const std::string& expression) {
    const auto parsed = ChatTemplate::parse("{{ " + expression + " }}", "d");
    const auto text = parsed.ok() ? (*parsed)->render(Json::object()) : parsed.status();
    return text.ok() ? *text : std::string(text.status().message());
  };
  for (const char* beyond :
       {"9223372036854775808", "9223372036854775807 + 1", "2 ** 63", "-9223372036854775807 - 2",
        "3037000500 * 3037000500", "'9223372036854775808'|int", "1e19|int", "'1e30'|int",
        "-(-9223372036854775807 - 1)", "1e30|round(0, 'ceil')|int",
        "12345678901234567890123|string", "'%d' % 1e30", "(-9223372036854775807 - 1)|abs",
        "9223372036854775807|round(-19)"}) {
    EXPECT_THAT(shown(beyond), HasSubstr("64-bit")) << beyond;
  }
  EXPECT_EQ(shown("9223372036854775807"), "9223372036854775807");
  EXPECT_EQ(shown("'9223372036854775807'|int"), "9223372036854775807");
  EXPECT_EQ(shown("'-9223372036854775808'|int"), "-9223372036854775808");
  EXPECT_EQ(shown("-9223372036854775807 - 1"), "-9223372036854775808");
  EXPECT_EQ(shown("'nan'|int(7)"), "7");
  EXPECT_EQ(shown("9007199254740993 == 9007199254740992.0"), "False");
  EXPECT_EQ(shown("9007199254740993 > 9007199254740992.0"), "True");
  EXPECT_EQ(shown("9223372036854775807 < 9223372036854775808.0"), "True");
  EXPECT_EQ(shown("9007199254740993 / 3"), "3002399751580331.0");
  EXPECT_EQ(shown("9223372036854775807 / 9223372036854775806"), "1.0");
  EXPECT_EQ(shown("4611686018427387905|round(-1)"), "4611686018427387900");
}

TEST(ChatTemplate, TheTimeIsPythons) {
  const auto shown = [](const std::string& format) {
    return ChatTemplate::parse("{{ strftime_now('" + format + "') }}", "d").value()->render(Json::object()).value();
  };
  EXPECT_THAT(shown("%Y-%m-%d"), testing::MatchesRegex("20..-..-.."));
  EXPECT_THAT(shown("%f|%Z%z|%%f"), testing::MatchesRegex("......\\|\\|%f"));
  EXPECT_EQ(shown(""), "");
}

TEST(ChatTemplate, OtherFilesAndSwitchesAreRefusedByName) {
  const auto error = [](const char* text) {
    return std::string(ChatTemplate::parse(text, "d").status().message());
  };
  EXPECT_THAT(error("{% include 'x' %}"), HasSubstr("include"));
  EXPECT_THAT(error("{% import 'x' as y %}"), HasSubstr("import"));
  EXPECT_THAT(error("{% from 'x' import y %}"), HasSubstr("from"));
  EXPECT_THAT(error("{% extends 'x' %}"), HasSubstr("extends"));
  EXPECT_THAT(error("{% autoescape true %}{% endautoescape %}"), HasSubstr("autoescape"));
  EXPECT_THAT(error("{{ self.a() }}"), HasSubstr("self"));
  EXPECT_THAT(error("{% do x %}"), HasSubstr("do"));
  EXPECT_TRUE(ChatTemplate::parse("{% autoescape false %}{{ x }}{% endautoescape %}", "d").ok());
}

TEST(ChatTemplate, RaisedMessageIsUntouched) {
  const auto parsed = ChatTemplate::parse("{{ raise_exception('Only \"user\", please: ✓') }}", "d");
  const auto text = parsed.value()->render(Json::object());
  EXPECT_EQ(text.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(std::string(text.status().message()), "Only \"user\", please: ✓");
}

TEST(ChatTemplate, VariablesMustBeAnObject) {
  const auto parsed = ChatTemplate::parse("x", "d");
  EXPECT_FALSE(parsed.value()->render(Json::array()).ok());
  EXPECT_FALSE(parsed.value()->render(Json()).ok());
}

TEST(ChatTemplate, InvalidUtf8IsRefused) {
  const auto parsed = ChatTemplate::parse("a\xff", "d");
  EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(ChatTemplate, RendersOfOneTemplateAreIndependent) {
  const auto parsed = ChatTemplate::parse(
      "{% set ns = namespace(t='') %}{% macro m(x) %}<{{ x }}>{% endmacro %}"
      "{% for x in xs %}{% set ns.t = ns.t ~ m(x) %}{% endfor %}{{ ns.t }}",
      "d");
  std::vector<std::string> texts(4);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < texts.size(); ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < 50; ++round) {
        texts[i] = (*parsed)->render(Json{{"xs", {i, i + 1}}}).value();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (size_t i = 0; i < texts.size(); ++i) {
    EXPECT_EQ(texts[i], "<" + std::to_string(i) + "><" + std::to_string(i + 1) + ">");
  }
}

TEST(ChatTemplate, LongConversationStaysWithinLimits) {
  Json messages = Json::array();
  for (int i = 0; i < 5000; ++i) {
    messages.push_back({{"role", i % 2 == 0 ? "user" : "assistant"},
                        {"content", std::string(200, 'a') + "</think> b"}});
  }
  const auto parsed = ChatTemplate::parse(
      "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
      "{{ raise_exception('order') }}{% endif %}[{{ m.role }}]"
      "{{ m.content.split('</think>')[-1] | trim }}{% endfor %}",
      "d");
  const auto text = parsed.value()->render(Json{{"messages", messages}});
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(text->size(), 2500 * (std::string("[user]b[assistant]b").size()));
}

TEST(ChatTemplate, KnowsWhetherItLoopsOverContent) {
  const auto takes = [](const char* text) {
    return (*ChatTemplate::parse(text, "t"))->takes_content_parts();
  };
  EXPECT_TRUE(takes("{% for m in messages %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endfor %}"));
  EXPECT_TRUE(takes("{% macro say(content) %}{% if content is string %}{{ content }}{% else %}"
                    "{% for p in content %}{{ p.text }}{% endfor %}{% endif %}{% endmacro %}"));
  EXPECT_TRUE(takes("{% for m in messages %}{% if true %}{% for p in m['content'] %}{% endfor %}{% endif %}{% endfor %}"));
  EXPECT_FALSE(takes("{% for m in messages %}{{ m.content }}{% endfor %}"));
  EXPECT_FALSE(takes("{% for line in messages[0].content.split('x') %}{{ line }}{% endfor %}"));
}

TEST(ChatTemplate, NumbersInDigitsOfAllScripts) {
  const auto text = [](const char* expression) {
    return *(*ChatTemplate::parse(expression, "t"))->render(Json::object());
  };
  EXPECT_EQ(text("{{ '٣'|int }}|{{ '٣.٥'|float }}|{{ '１２'|int }}|{{ '-१२'|float }}|{{ '𝟙𝟘'|int }}"),
            "3|3.5|12|-12.0|10");
  EXPECT_EQ(text("{{ '½'|int }}|{{ '²'|int }}"), "0|0");
}

TEST(ChatTemplate, ALoopHasALength) {
  EXPECT_EQ(*(*ChatTemplate::parse("{% for x in [5, 6] if x > 1 %}{{ loop|length }}{% endfor %}", "t"))->render(Json::object()), "22");
}

}  // namespace
}  // namespace conclave::coordinator
