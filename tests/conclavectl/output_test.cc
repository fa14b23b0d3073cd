#include "cli/conclavectl/output.h"

#include <gtest/gtest.h>

#include "cli/conclavectl/tables.h"

namespace conclave::ctl {
namespace {

TEST(Table, NumbersStandToTheRightTextToTheLeft) {
  Table table({"NAME", "COUNT"});
  table.add({"a", "5"});
  table.add({"longer", "120"});
  EXPECT_EQ(table.text(), "NAME    COUNT\na           5\nlonger    120\n");
  EXPECT_EQ(Table({"ONLY", "HEADER"}).text(), "ONLY  HEADER\n");
}

TEST(Yaml, BlocksListsAndQuotes) {
  const Json json = Json::parse(R"({"a": 1, "b": "plain", "c": "true", "d": "", "e": "x: y", "f": [], "g": {},
      "h": [{"i": 1, "j": [1, 2]}, "k"], "l": null, "m": "0123", "n": {"o": "line\nbreak"}})");
  EXPECT_EQ(to_yaml(json),
            "a: 1\nb: plain\nc: \"true\"\nd: \"\"\ne: \"x: y\"\nf: []\ng: {}\nh:\n  - i: 1\n    j: [1,2]\n  - k\n"
            "l: null\nm: \"0123\"\nn:\n  o: \"line\\nbreak\"\n");
}

TEST(Format, SecondsBytesDurations) {
  EXPECT_EQ(format_seconds(0.00012), "120 us");
  EXPECT_EQ(format_seconds(0.0125), "12.5 ms");
  EXPECT_EQ(format_seconds(3.4), "3.4 s");
  EXPECT_EQ(format_seconds(125), "2m05s");
  EXPECT_EQ(format_seconds(3 * 3600 + 600), "3h10m");
  EXPECT_EQ(format_seconds(2 * 86400 + 4 * 3600), "2d04h");
  EXPECT_EQ(format_bytes(12), "12 B");
  EXPECT_EQ(format_bytes(12.3 * 1024 * 1024), "12.3 MiB");
  EXPECT_EQ(*parse_duration("90"), 90);
  EXPECT_EQ(*parse_duration("1h30m"), 5400);
  EXPECT_EQ(*parse_duration("0.5s"), 0.5);
  for (const char* text : {"", "5x", "m", "-3s", "1h m"}) EXPECT_FALSE(parse_duration(text).ok()) << text;
}

TEST(Format, MembersOfDocumentsHaveUnitsAndFewDigits) {
  EXPECT_EQ(format_member("heartbeat_age_seconds", 0.0123456789), "12.3 ms");
  EXPECT_EQ(format_member("predicted_pause_ms", 0.05000000001), "50 us");
  EXPECT_EQ(format_member("weight_bytes", 13002342), "12.4 MiB");
  EXPECT_EQ(format_member("bytes_to_move", 2048), "2.0 KiB");
  EXPECT_EQ(format_member("generated_tokens_per_second", 1234.5678), "1235/s");
  EXPECT_EQ(format_member("remote_fraction", 0.12345), "12.3 %");
  EXPECT_EQ(format_member("balance", Json::parse("[1.0, 1.234567891]")), "[1, 1.235]");
  EXPECT_EQ(format_member("objective_after", 0.30000000000000004), "0.3");
  EXPECT_EQ(format_member("parameters", 6919161856), "6919161856");
  EXPECT_EQ(format_member("holders", Json::parse("[[0], [1, 2]]")), "[[0], [1, 2]]");
  EXPECT_EQ(format_member("reason", "x"), "x");
  EXPECT_EQ(format_member("gap", nullptr), "-");
}

TEST(Path, NamesAreOnePart) { EXPECT_EQ(encode_path("a/b?c d%é"), "a%2fb%3fc%20d%25%c3%a9"); }

TEST(Description, FlattensAndLeavesTheFrameOut) {
  EXPECT_EQ(description(Json::parse(R"({"version":1,"kind":"x","a":{"b":"c","d":[1]},"e":null})")), "a.b: c\na.d: [1]\ne: -\n");
}

TEST(Description, FirstLines) {
  EXPECT_EQ(first_lines("a\nb\nc\n", 2), "a\nb\n");
  EXPECT_EQ(first_lines("a\nb", 5), "a\nb");
}

}  // namespace
}  // namespace conclave::ctl
