#include "base/log.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <thread>

namespace conclave {
namespace {

class LogTest : public ::testing::Test {
 protected:
  ~LogTest() override {
    set_log_level(LogLevel::kInfo);
    set_log_format(LogFormat::kText);
    set_log_component("");
    set_log_rank(-1);
    set_log_step(-1);
  }
  template <typename Work>
  static std::string logged(Work work) {
    ::testing::internal::CaptureStderr();
    work();
    return ::testing::internal::GetCapturedStderr();
  }
};

TEST_F(LogTest, ARecordIsOneLineInBothFormats) {
  const auto record = [] { log_warning("two\nlines", {{"request_id", "a b"}, {"n", "1"}}); };
  const std::string text = logged(record);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
  EXPECT_NE(text.find(" warning two lines request_id=\"a b\" n=1\n"), std::string::npos) << text;
  set_log_format(LogFormat::kJson);
  const std::string line = logged(record);
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1);
  const auto json = nlohmann::json::parse(line);
  EXPECT_EQ(json["message"], "two\nlines");
  EXPECT_EQ(json["request_id"], "a b");
  EXPECT_EQ(json["level"], "warning");
}

TEST_F(LogTest, RankAndStepBelongToTheThread) {
  set_log_format(LogFormat::kJson);
  set_log_rank(3);
  set_log_step(41);
  const auto mine = nlohmann::json::parse(logged([] { log_info("here"); }));
  EXPECT_EQ(mine["rank"], 3);
  EXPECT_EQ(mine["step"], 41);
  const auto other = nlohmann::json::parse(logged([] { std::thread([] { log_info("there"); }).join(); }));
  EXPECT_FALSE(other.contains("rank"));
  set_log_format(LogFormat::kText);
  EXPECT_NE(logged([] { log_info("here"); }).find("here rank=3 step=41"), std::string::npos);
}

TEST_F(LogTest, TheLevelDecidesAndRecordsAreCounted) {
  set_log_level(LogLevel::kWarning);
  const int64_t infos = log_record_count(LogLevel::kInfo);
  const int64_t errors = log_record_count(LogLevel::kError);
  EXPECT_EQ(logged([] { log_info("no"); }), "");
  EXPECT_NE(logged([] { log_error("yes"); }), "");
  EXPECT_EQ(log_record_count(LogLevel::kInfo), infos);
  EXPECT_EQ(log_record_count(LogLevel::kError), errors + 1);
  EXPECT_EQ(log_level(), LogLevel::kWarning);
}

TEST_F(LogTest, LevelsHaveNames) {
  for (const LogLevel level : {LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarning, LogLevel::kError}) {
    EXPECT_EQ(parse_log_level(log_level_name(level)), level);
  }
  EXPECT_FALSE(parse_log_level("loud").has_value());
}

TEST_F(LogTest, TheLastLinesAreKept) {
  (void)logged([] {
    for (int i = 0; i < 600; ++i) log_info("line", {{"i", std::to_string(i)}});
  });
  const auto lines = recent_log_lines();
  ASSERT_EQ(lines.size(), 512u);
  EXPECT_TRUE(lines.back().ends_with("i=599"));
  EXPECT_TRUE(lines.front().ends_with("i=88"));
}

}  // namespace
}  // namespace conclave
