// Every case under cases/: our text, or our refusal, is what Jinja2 gave (make_expected.py).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "coordinator/chat_template/chat_template.h"

namespace conclave::coordinator {
namespace {

using Json = nlohmann::ordered_json;

std::vector<std::string> case_files() {
  std::vector<std::string> files;
  const std::string folder = std::string(CONCLAVE_SOURCE_DIR) + "/tests/chat_template/cases";
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".json") files.push_back(entry.path().string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::string template_text(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  std::string text;
  for (size_t i = 0; i < value.size(); ++i) {
    if (i > 0) text += '\n';
    text += value[i].get<std::string>();
  }
  return text;
}

absl::StatusOr<std::string> rendered(const std::string& text, const Json& variables) {
  const auto parsed = ChatTemplate::parse(text, "case");
  if (!parsed.ok()) return parsed.status();
  return (*parsed)->render(variables);
}

class Case : public testing::TestWithParam<std::string> {};

TEST_P(Case, RendersAsJinja2) {
  std::ifstream file(GetParam());
  const std::string content{std::istreambuf_iterator<char>(file), {}};
  const Json cases = Json::parse(content, nullptr, /*allow_exceptions=*/false);
  ASSERT_TRUE(cases.is_array() && !cases.empty());
  for (const Json& one : cases) {
    SCOPED_TRACE(one["name"].get<std::string>());
    for (const Json& render : one["renders"]) {
      const auto text = rendered(template_text(one["template"]), render["variables"]);
      if (render.contains("expected")) {
        ASSERT_TRUE(text.ok()) << text.status();
        EXPECT_EQ(*text, render["expected"].get<std::string>());
      } else {
        ASSERT_FALSE(text.ok()) << *text;
        // Not parsed or raised by the template itself, or failed on the way.
        EXPECT_TRUE(absl::IsInvalidArgument(text.status()) ||
                    absl::IsFailedPrecondition(text.status()));
        EXPECT_THAT(std::string(text.status().message()),
                    testing::HasSubstr(render["fails"].get<std::string>()));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Files, Case, testing::ValuesIn(case_files()), [](const auto& info) {
  return std::filesystem::path(info.param).stem().string();
});

}  // namespace
}  // namespace conclave::coordinator
