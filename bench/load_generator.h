#ifndef CONCLAVE_BENCH_LOAD_GENERATOR_H_
#define CONCLAVE_BENCH_LOAD_GENERATOR_H_

// Streams completions from an OpenAI-compatible server and measures what a client sees.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/http/client/http_client.h"

namespace conclave::bench {

struct LoadOptions {
  std::string model;
  int32_t requests = 100;
  int32_t concurrency = 8;     // closed loop: so many at once
  double rate = 0;             // > 0: open loop, Poisson arrivals per second, concurrency ignored
  int32_t prompt_tokens = 128; // random token ids below max_token_id
  int32_t output_tokens = 64;  // exactly, by ignore_eos
  int32_t max_token_id = 1000;
  uint64_t seed = 1;
};

struct RequestRecord {
  bool ok = false;
  int32_t status = 0;
  double ttft_seconds = 0;
  double e2e_seconds = 0;
  int32_t prompt_tokens = 0;
  int32_t output_tokens = 0;
  std::vector<float> gaps_seconds;  // between events that carry text
};

struct LoadResult {
  double seconds = 0;  // first request sent to last answer
  std::vector<RequestRecord> requests;
};

// UNAVAILABLE if not a single request succeeded.
absl::StatusOr<LoadResult> run_load(coordinator::HttpClient& client, const LoadOptions& options);

struct Distribution {
  double mean = 0, p50 = 0, p90 = 0, p95 = 0, p99 = 0, max = 0;
};
Distribution distribution(std::vector<double> values);

struct LoadSummary {
  int32_t succeeded = 0, failed = 0;
  int64_t prompt_tokens = 0, output_tokens = 0;
  double seconds = 0, requests_per_second = 0, output_tokens_per_second = 0, total_tokens_per_second = 0;
  Distribution ttft_ms;
  Distribution tpot_ms;  // (e2e - TTFT) / (output - 1), per request
  Distribution itl_ms;   // gaps between events
  Distribution e2e_ms;
};
LoadSummary summarize(const LoadResult& result);

}  // namespace conclave::bench

#endif  // CONCLAVE_BENCH_LOAD_GENERATOR_H_
