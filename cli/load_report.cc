#include "cli/load_report.h"

#include <cstdio>
#include <nlohmann/json.hpp>

namespace conclave::cli {
namespace {

nlohmann::ordered_json to_json(const bench::Distribution& d) {
  return {{"mean", d.mean}, {"p50", d.p50}, {"p90", d.p90}, {"p95", d.p95}, {"p99", d.p99}, {"max", d.max}};
}

void print_row(const char* name, const bench::Distribution& d) {
  std::printf("%-10s mean %9.3f  p50 %9.3f  p90 %9.3f  p95 %9.3f  p99 %9.3f  max %9.3f ms\n", name, d.mean, d.p50, d.p90, d.p95,
              d.p99, d.max);
}

}  // namespace

nlohmann::ordered_json load_json(const bench::LoadOptions& o, const bench::LoadSummary& s) {
  return {{"model", o.model},
          {"loop", o.rate > 0 ? "open" : "closed"},
          {"rate", o.rate},
          {"concurrency", o.concurrency},
          {"requests", o.requests},
          {"succeeded", s.succeeded},
          {"failed", s.failed},
          {"seconds", s.seconds},
          {"requests_per_second", s.requests_per_second},
          {"output_tokens_per_second", s.output_tokens_per_second},
          {"total_tokens_per_second", s.total_tokens_per_second},
          {"prompt_tokens", s.prompt_tokens},
          {"output_tokens", s.output_tokens},
          {"ttft_ms", to_json(s.ttft_ms)},
          {"tpot_ms", to_json(s.tpot_ms)},
          {"itl_ms", to_json(s.itl_ms)},
          {"e2e_ms", to_json(s.e2e_ms)}};
}

void print_load(const bench::LoadOptions& o, const bench::LoadSummary& s) {
  if (o.rate > 0) {
    std::printf("open loop, %.2f requests/s offered: ", o.rate);
  } else {
    std::printf("closed loop, %d at once: ", o.concurrency);
  }
  std::printf("%d of %d requests in %.2f s, %d failed; %.2f requests/s, %.1f output tokens/s, %.1f tokens/s in all\n", s.succeeded,
              o.requests, s.seconds, s.failed, s.requests_per_second, s.output_tokens_per_second, s.total_tokens_per_second);
  print_row("TTFT", s.ttft_ms);
  print_row("TPOT", s.tpot_ms);
  print_row("ITL", s.itl_ms);
  print_row("end to end", s.e2e_ms);
}

}  // namespace conclave::cli
