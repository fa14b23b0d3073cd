// Hostile templates end with an error: bounded time, memory and stack.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "coordinator/chat_template/limited_template.h"

namespace conclave::coordinator::jinja {
namespace {

using Json = nlohmann::ordered_json;

// The bounds that do not depend on how fast this machine is: CPU time stands still.
RenderLimits by_counting() {
  RenderLimits limits;
  limits.cpu_clock_ns = [] { return int64_t{0}; };
  return limits;
}

std::string error_of(const std::string& text, const RenderLimits& limits = by_counting()) {
  const auto parsed = parse_limited(text, "hostile", limits);
  if (!parsed.ok()) return std::string(parsed.status().message());
  const auto rendered = (*parsed)->render(Json::object());
  return rendered.ok() ? "" : std::string(rendered.status().message());
}

std::string repeated(const std::string& unit, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += unit;
  return out;
}

TEST(Limits, OutputSize) {
  EXPECT_THAT(error_of("{% for i in range(100000) %}{{ 'x' * 10000 }}{% endfor %}"),
              testing::HasSubstr("too large"));
}

TEST(Limits, ValuesThatDouble) {
  EXPECT_THAT(error_of("{% set ns = namespace(x='ab') %}{% for i in range(100) %}"
                       "{% set ns.x = ns.x ~ ns.x %}{% endfor %}"),
              testing::HasSubstr("too large"));
  EXPECT_THAT(error_of("{{ 'x' * 100000000000 }}"), testing::HasSubstr("too large"));
  EXPECT_THAT(error_of("{{ [1] * 9223372036854775807 }}"), testing::HasSubstr("too large"));
  EXPECT_THAT(error_of("{{ 'x'.ljust(9000000000000000000) }}"), testing::HasSubstr("too large"));
  EXPECT_THAT(error_of("{{ 'a\\nb'|indent(9000000000000000000) }}"),
              testing::HasSubstr("too large"));
}

TEST(Limits, TreesThatShareBranches) {
  const std::string grow =
      "{% set ns = namespace(x=[]) %}{% for i in range(100) %}{% set ns.x = [ns.x, ns.x] %}"
      "{% endfor %}";
  EXPECT_THAT(error_of(grow + "{{ ns.x }}"), testing::HasSubstr("too"));
  EXPECT_THAT(error_of(grow + "{{ ns.x|tojson }}"), testing::HasSubstr("too"));
  const std::string twice = grow +
                            "{% set ns.y = [] %}{% for i in range(100) %}"
                            "{% set ns.y = [ns.y, ns.y] %}{% endfor %}";
  EXPECT_THAT(error_of(twice + "{{ ns.x == ns.y }}"), testing::HasSubstr("too long"));
}

TEST(Limits, LoopIterations) {
  const std::string nested =
      "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}";
  EXPECT_THAT(error_of(nested), testing::HasSubstr("loops run too often"));
  EXPECT_THAT(error_of("{% for a in range(1000) %}{% for b in range(100000) if b < 0 %}"
                       "{% endfor %}{% endfor %}"),
              testing::HasSubstr("loops run too often"));
}

TEST(Limits, MacroRecursion) {
  EXPECT_THAT(error_of("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}"),
              testing::HasSubstr("nested too deeply"));
  EXPECT_THAT(error_of("{% macro m() %}{{ caller }}{% call m() %}{% endcall %}{% endmacro %}{{ m() }}"),
              testing::HasSubstr("nested too deeply"));
}

TEST(Limits, SyntaxNesting) {
  EXPECT_THAT(error_of("{{ " + repeated("(", 100000) + "1" + repeated(")", 100000) + " }}"),
              testing::HasSubstr("nested too deeply"));
  EXPECT_THAT(error_of("{{ " + repeated("not ", 100000) + "1 }}"),
              testing::HasSubstr("nested too deeply"));
  EXPECT_THAT(error_of("{{ " + repeated("-", 100000) + "1 }}"),
              testing::HasSubstr("nested too deeply"));
  EXPECT_THAT(error_of("{{ x" + repeated(".a", 100000) + " }}"),
              testing::HasSubstr("nested too deeply"));
  EXPECT_THAT(error_of("{{ x" + repeated("|trim", 100000) + " }}"),
              testing::HasSubstr("nested too deeply"));
  EXPECT_THAT(error_of(repeated("{% if 1 %}", 100000)), testing::HasSubstr("nested too deeply"));
  EXPECT_THAT(error_of("{{ " + repeated("1 if 1 else ", 100000) + " 1 }}"),
              testing::HasSubstr("nested too deeply"));
  EXPECT_THAT(error_of("{% set " + repeated("(", 100000) + "a" + repeated(")", 100000) + " = 1 %}"),
              testing::HasSubstr("nested too deeply"));
}

TEST(Limits, LongChainsAreFine) {
  EXPECT_EQ(error_of("{{ 1" + repeated(" + 1", 20000) + " }}"), "");
  EXPECT_EQ(error_of("{{ 'a'" + repeated(" ~ 'b'", 20000) + " }}"), "");
  EXPECT_EQ(error_of("{{ 1" + repeated(" and 1", 20000) + " }}"), "");
  EXPECT_EQ(error_of("{% if 0 %}" + repeated("{% elif 0 %}", 2000) + "{% endif %}"), "");
}

TEST(Limits, ValueNesting) {
  EXPECT_THAT(error_of("{% set ns = namespace(x=1) %}{% for i in range(100000) %}"
                       "{% set ns.x = [ns.x] %}{% endfor %}"),
              testing::HasSubstr("values nest"));
  EXPECT_THAT(error_of("{% set ns = namespace(x='a') %}{% for i in range(100000) %}"
                       "{% set ns.x = {'k': ns.x} %}{% endfor %}"),
              testing::HasSubstr("values nest"));
  EXPECT_THAT(error_of("{% set ns = namespace(x='a') %}{% for i in range(100000) %}"
                       "{% for j in [ns.x] %}{{ loop.length }}{% set ns.x = loop %}{% endfor %}"
                       "{% endfor %}"),
              testing::HasSubstr("values nest"));
}

TEST(Limits, ChainsThroughNamespacesAndMacrosAreFreed) {
  EXPECT_EQ(error_of("{% set ns = namespace(x=1) %}{% for i in range(100000) %}"
                     "{% set ns.x = namespace(x=ns.x) %}{% endfor %}"),
            "");
  EXPECT_EQ(error_of("{% set ns = namespace(m=1) %}{% for i in range(100000) %}"
                     "{% set before = ns.m %}{% macro m() %}{{ before }}{% endmacro %}"
                     "{% set ns.m = m %}{% endfor %}"),
            "");
  EXPECT_THAT(error_of("{% set ns = namespace() %}{% set ns.self = ns %}{{ ns }}"),
              testing::HasSubstr("too deeply"));
}

TEST(Limits, SlowSearchesAreCharged) {
  RenderLimits limits;
  limits.steps = 100'000;
  EXPECT_THAT(error_of("{% set a = 'a' * 1000000 %}{{ a.find('a' * 500000 ~ 'b') }}", limits),
              testing::HasSubstr("too long"));
}

TEST(Limits, CpuTime) {
  RenderLimits limits;
  static int64_t now = 0;
  now = 0;
  limits.cpu_clock_ns = [] { return now += 1'000'000; };  // a millisecond a look
  limits.cpu_ns = 50'000'000;
  EXPECT_THAT(
      error_of(
          "{% for i in range(90000) %}{% for j in range(9) %}{{ i % 7 }}{% endfor %}{% endfor %}",
          limits),
      testing::HasSubstr("CPU time"));
  EXPECT_THAT(
      error_of("{% for i in range(90000) %}{% set x = ('ab' * 10000)|upper %}{% endfor %}", limits),
      testing::HasSubstr("CPU time"));
  EXPECT_EQ(error_of("{% for i in range(2000) %}{{ i }}{% endfor %}", limits), "");
}

TEST(Limits, FiltersThatMultiplyAreBounded) {
  for (const char* text :
       {"{{ [1]|batch(9000000000000000000, 0)|list }}", "{{ []|slice(9000000000000000000)|list }}",
        "{{ 'a\tb'.expandtabs(9000000000000000000) }}",
        "{{ ('a' * 10000000).translate({97: 'bbbbbbbbbb'}) }}",
        "{{ cycler(*range(90000)) }}{% for i in range(90000) %}{% set c = cycler(*range(90000)) "
        "%}{% endfor %}",
        "{% for x in [1] recursive %}{{ loop([x]) }}{% endfor %}"}) {
    EXPECT_THAT(error_of(text), testing::HasSubstr("too")) << text;
  }
  EXPECT_THAT(error_of("{{ '{:99999999}'.format(1) }}"), testing::HasSubstr("width"));
  EXPECT_THAT(error_of("{{ '%99999999d' % 1 }}"), testing::HasSubstr("width"));
  EXPECT_EQ(error_of("{{ ('a' * 3000000)|wordwrap(1)|length }}"), "");
  EXPECT_EQ(error_of("{{ ('-' * 3000000)|wordwrap(2)|length }}"), "");
  EXPECT_THAT(error_of("{% set ns = namespace(c=1) %}{% for i in range(100000) %}{% set ns.c = "
                       "cycler(ns.c) %}{% endfor %}"),
              testing::HasSubstr("values nest"));
}

TEST(Limits, NestedVariablesAreRefused) {
  Json deep = 1;
  for (int i = 0; i < 1000; ++i) deep = Json::array({deep});
  const auto parsed = parse_limited("{{ x }}", "d", RenderLimits());
  const auto rendered = parsed.value()->render(Json{{"x", deep}});
  EXPECT_EQ(rendered.status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace conclave::coordinator::jinja
