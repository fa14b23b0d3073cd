#include "cli/conclavectl/flag_table.h"

#include <gtest/gtest.h>

#include <CLI/CLI.hpp>

namespace conclave::ctl {
namespace {

class FlagTable : public ::testing::Test {
 protected:
  FlagTable() {
    app_.name("tool");
    app_.add_option("-o,--output", output_, "how to print")->check(CLI::IsMember({"table", "json"}));
    CLI::App* group = app_.add_subcommand("group", "a group of verbs");
    CLI::App* verb = group->add_subcommand("verb", "does it's thing");
    verb->add_option("name", name_, "whom")->required();
    verb->add_flag("--force", force_, "at all costs");
  }
  CLI::App app_{"A tool"};
  std::string output_ = "table", name_;
  bool force_ = false;
};

TEST_F(FlagTable, HoldsWhatWasDeclared) {
  const auto table = flag_table(app_);
  ASSERT_EQ(table.size(), 3u);
  EXPECT_EQ(table[0].verbs, std::vector<std::string>{"group"});
  EXPECT_EQ(table[2].path, (std::vector<std::string>{"group", "verb"}));
  const FlagRow& output = table[0].flags[1];
  EXPECT_EQ(output.names, (std::vector<std::string>{"-o", "--output"}));
  EXPECT_EQ(output.choices, (std::vector<std::string>{"table", "json"}));
  EXPECT_TRUE(output.takes_value);
  bool found = false;
  for (const FlagRow& flag : table[2].flags) {
    if (flag.names[0] == "name") found = flag.positional && flag.required;
    if (flag.names[0] == "--force") {
      EXPECT_FALSE(flag.takes_value);
    }
  }
  EXPECT_TRUE(found);
}

TEST_F(FlagTable, ManPagesNameEveryFlag) {
  const auto pages = man_pages("tool", "1.0", flag_table(app_), "Exit codes: 0 success");
  ASSERT_EQ(pages.size(), 3u);
  EXPECT_NE(pages.at("tool.1").find("\\-\\-output"), std::string::npos);
  EXPECT_NE(pages.at("tool.1").find("One of: table, json"), std::string::npos);
  EXPECT_NE(pages.at("tool-group-verb.1").find("\\-\\-force"), std::string::npos);
  EXPECT_NE(pages.at("tool-group-verb.1").find("\\fIname\\fR"), std::string::npos);
}

TEST_F(FlagTable, FishQuotesWhatTheShellWouldRead) {
  EXPECT_NE(fish_completion("tool", flag_table(app_)).find("'does it'\\''s thing'"), std::string::npos);
}

}  // namespace
}  // namespace conclave::ctl
