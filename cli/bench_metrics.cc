#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/version.h"
#include "cli/bench_commands.h"
#include "cli/exit_codes.h"
#include "coordinator/admin/metrics.h"

namespace conclave::cli {
namespace {

struct BenchMetricsOptions {
  int32_t ranks = 8;
  int32_t layers = 32;
  int32_t batch = 32;  // tokens of a step
  int32_t steps = 20000;
  std::string output = "text";
};

struct Cost {
  double token_ns = 0;          // what each token adds by itself
  double step_ns = 0;           // what each step adds, whatever it holds
  double token_in_step_ns = 0;  // both, of one token in a step of `batch`
  double scrape_us = 0;
};

using Clock = std::chrono::steady_clock;

double nanoseconds(Clock::time_point since) { return std::chrono::duration<double, std::nano>(Clock::now() - since).count(); }

std::vector<protocol::RankTiming> some_timings(const BenchMetricsOptions& o) {
  std::vector<protocol::RankTiming> ranks(static_cast<size_t>(o.ranks));
  for (int32_t rank = 0; rank < o.ranks; ++rank) {
    protocol::RankTiming& timing = ranks[static_cast<size_t>(rank)];
    timing.rank = rank;
    timing.compute_seconds = 0.003 + 0.0001 * rank;
    timing.tokens = o.batch / o.ranks;
    timing.expert_rows.assign(static_cast<size_t>(o.layers), 3 + rank);
  }
  return ranks;
}

// The calls of the engine for one step and its tokens, with values that fall into many buckets.
Cost measure(const BenchMetricsOptions& o) {
  coordinator::Metrics metrics({kVersion, "bench"});
  const auto ranks = some_timings(o);
  Cost best{1e30, 1e30, 0, 0};
  for (int round = 0; round < 5; ++round) {
    auto begin = Clock::now();
    for (int32_t i = 0; i < o.steps; ++i) metrics.next_token(0.0004 * (1 + i % 97));
    best.token_ns = std::min(best.token_ns, nanoseconds(begin) / o.steps);
    begin = Clock::now();
    const int32_t steps = std::max(1, o.steps / 50);
    for (int32_t i = 0; i < steps; ++i) {
      metrics.step_finished(0.004, ranks);
      metrics.tokens_computed(0, o.batch);
      metrics.load(o.batch, 0, i, o.steps);
    }
    best.step_ns = std::min(best.step_ns, nanoseconds(begin) / steps);
  }
  best.token_in_step_ns = best.token_ns + best.step_ns / o.batch;
  const auto begin = Clock::now();
  for (int i = 0; i < 100; ++i) (void)metrics.exposition({}).size();
  best.scrape_us = nanoseconds(begin) / 100 / 1000;
  return best;
}

int run(const BenchMetricsOptions& o) {
  const Cost cost = measure(o);
  if (o.output == "json") {
    std::printf("%s\n", nlohmann::ordered_json({{"ranks", o.ranks}, {"layers", o.layers}, {"batch", o.batch}, {"token_ns", cost.token_ns},
                                                {"step_ns", cost.step_ns}, {"token_in_step_ns", cost.token_in_step_ns},
                                                {"scrape_us", cost.scrape_us}}).dump(2).c_str());
  } else {
    std::printf("per token        %8.0f ns\nper step         %8.0f ns  (%d ranks, %d MoE layers)\n"
                "token in a step  %8.0f ns  (of %d tokens)\nscrape           %8.0f us\n",
                cost.token_ns, cost.step_ns, o.ranks, o.layers, cost.token_in_step_ns, o.batch, cost.scrape_us);
  }
  return kExitOk;
}

}  // namespace

void add_bench_metrics_command(CLI::App& parent, int* exit_code) {
  auto o = std::make_shared<BenchMetricsOptions>();
  CLI::App* command = parent.add_subcommand("metrics", "What metrics cost the coordinator per token; the limit is one microsecond");
  command->footer(std::string(kExitCodeHelp));
  command->add_option("--ranks", o->ranks, "ranks that report each step")->check(CLI::Range(1, 4096));
  command->add_option("--layers", o->layers, "MoE layers")->check(CLI::Range(1, 4096));
  command->add_option("--batch", o->batch, "tokens of a step")->check(CLI::Range(1, 1 << 20));
  command->add_option("--steps", o->steps, "calls to time")->check(CLI::Range(100, 1 << 26));
  command->add_option("-o,--output", o->output, "text or json")->check(CLI::IsMember({"text", "json"}));
  command->callback([o, exit_code] { *exit_code = run(*o); });
}

}  // namespace conclave::cli
