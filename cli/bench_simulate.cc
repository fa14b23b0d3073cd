// The simulator against a run: measures one rank and the links, predicts the decode steps of a group,
// runs them, and prints both.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <future>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "bench/engine_bench.h"
#include "cli/bench_commands.h"
#include "cli/exit_codes.h"
#include "cli/offline_engine.h"
#include "cli/progress_bar.h"
#include "cli/shape_file.h"
#include "expert_placement/homes/homes.h"
#include "expert_placement/profile/synthetic_rows.h"
#include "expert_placement/simulator/rank_figures.h"

namespace conclave::cli {
namespace {

using placement::ClusterSpec;
using placement::MeasuredStep;
using placement::PlacementTable;
using placement::RoutingRows;

constexpr int64_t kRows = 4096;  // of routing: enough for means, few enough to count often

struct BenchSimulateOptions {
  GroupOptions group;
  std::string shape, trace, out, output = "text";
  std::vector<int32_t> batches{1, 16, 64};
  bench::EngineBenchOptions bench;
};

// What a group did, for each batch.
struct Measured {
  std::vector<bench::Phase> decode;
  coordinator::EngineStatus status;
  model::ModelSpec spec;
};

struct Compared {
  int32_t batch = 0;
  double measured_s = 0;
  placement::SimulatedStep predicted;
  double ratio() const { return predicted.total_s() / measured_s; }
};

// What a group's steps cost beside computing, apart from them.
struct Links {
  placement::LinkClass link;
  double idle_s = 0;  // of a step of `batch` tokens: no rank was in it
  int32_t batch = 1;
};

double context_of(const bench::EngineBenchOptions& bench) {
  return bench.prompt_tokens + bench.decode_tokens / 2.0;
}

// Shows how far the steps of one batch are; how many there will be is known but for those of the prompts.
class ShownSteps {
 public:
  ShownSteps(const std::string& what, int32_t batch, const bench::EngineBenchOptions& bench, bench::StepRecorder* recorder)
      : recorder_(recorder),
        total_(static_cast<uint64_t>(bench.repeats) * static_cast<uint64_t>(bench.decode_tokens + 8)),
        bar_(absl::StrCat(what, ", batch ", batch, ", steps"), !what.empty()) {
    recorder_->watch([this] { bar_.update(std::min(++done_, total_), total_); });
  }
  ~ShownSteps() { recorder_->watch(nullptr); }
  ShownSteps(const ShownSteps&) = delete;
  ShownSteps& operator=(const ShownSteps&) = delete;

 private:
  bench::StepRecorder* recorder_;
  uint64_t total_, done_ = 0;
  ProgressBar bar_;
};

// what: of the progress on stderr; empty: none.
absl::StatusOr<Measured> measure(GroupOptions group, const BenchSimulateOptions& o, const std::string& what) {
  group.prefix_cache = false;
  const int64_t tokens = o.bench.prompt_tokens + o.bench.decode_tokens + 48;
  if (group.kv_memory.empty() && group.kv_blocks == 0) {
    const int32_t most = *std::max_element(o.batches.begin(), o.batches.end());
    group.kv_blocks = static_cast<int32_t>(most * (tokens / 16 + 1) + 16);
  }
  bench::StepRecorder recorder;
  std::unique_ptr<OfflineEngine> engine;
  if (o.shape.empty()) {
    ASSIGN_OR_RETURN(engine, OfflineEngine::start(group, /*progress=*/!what.empty(), &recorder));
  } else {
    std::string path;
    ASSIGN_OR_RETURN(const std::string text, read_shape(o.shape, &path));
    ASSIGN_OR_RETURN(engine, OfflineEngine::start_shape(group, text, path, !what.empty(), &recorder));
  }
  Measured measured;
  measured.spec = engine->model().spec;
  measured.status = engine->engine().status();
  const ComputeType compute = resolved_compute(group, measured.spec);
  bench::EngineBenchOptions options = o.bench;
  for (const int32_t batch : o.batches) {
    options.batch = batch;
    const ShownSteps shown(what, batch, options, &recorder);
    ASSIGN_OR_RETURN(const bench::Phase phase, bench::bench_decode(engine->engine(), recorder,
                                                                   measured.spec, compute, options));
    measured.decode.push_back(phase);
  }
  return measured;
}

// As many groups of one rank as there will be ranks, at once: they share cores, caches and memory
// as the ranks of one group will. Means over the groups.
absl::StatusOr<Measured> measure_alone(const BenchSimulateOptions& o) {
  GroupOptions alone = o.group;
  alone.ranks = 1;
  alone.threads = std::max(1, o.group.threads);
  alone.transport = "local";
  alone.plan = "fixed";
  alone.placement.clear();
  alone.placement_json.clear();
  alone.pin = false;
  std::vector<std::future<absl::StatusOr<Measured>>> running;
  for (int32_t rank = 0; rank < o.group.ranks; ++rank) {
    const std::string what = rank == 0 ? absl::StrCat("1 of 3: ", o.group.ranks, " single ranks at once") : "";
    running.push_back(std::async(std::launch::async, [&alone, &o, what] { return measure(alone, o, what); }));
  }
  Measured mean;
  absl::Status failed;
  for (auto& one : running) {
    absl::StatusOr<Measured> measured = one.get();
    if (!measured.ok()) failed = measured.status();
    if (!measured.ok()) continue;
    if (mean.decode.empty()) mean = *measured;
    for (size_t i = 0; i < mean.decode.size() && &one != &running.front(); ++i) {
      mean.decode[i].seconds_per_step += measured->decode[i].seconds_per_step;
      mean.decode[i].ranks_ms += measured->decode[i].ranks_ms;
    }
  }
  RETURN_IF_ERROR(failed);
  for (bench::Phase& phase : mean.decode) {
    phase.seconds_per_step /= o.group.ranks;
    phase.ranks_ms /= o.group.ranks;
  }
  return mean;
}

absl::StatusOr<RoutingRows> routing(const BenchSimulateOptions& o, const model::ModelSpec& spec) {
  const auto layers = static_cast<int32_t>(spec.moe_layers().size());
  if (o.trace.empty())
    return placement::uniform_rows(layers, spec.experts, spec.top_k, kRows, /*seed=*/1);
  ASSIGN_OR_RETURN(const RoutingRows rows, placement::read_trace(o.trace));
  if (rows.layers != layers || rows.experts != spec.experts || rows.top_k != spec.top_k)
    return absl::InvalidArgumentError(o.trace + ": was not recorded from this model");
  return placement::thin_rows(rows, kRows);
}

double idle_seconds(const bench::Phase& phase) {
  return std::max(0.0, phase.seconds_per_step - phase.ranks_ms / 1e3);
}

// What ranks measured when they started, if they were to choose a plan; and how long a small step's plan and results
// are on their way.
absl::StatusOr<Links> measure_links(const BenchSimulateOptions& o) {
  BenchSimulateOptions short_run = o;
  short_run.group.plan = "auto";
  short_run.batches = {*std::min_element(o.batches.begin(), o.batches.end())};
  short_run.bench.decode_tokens = 32;
  short_run.bench.repeats = 2;
  ASSIGN_OR_RETURN(const Measured measured, measure(short_run.group, short_run, "2 of 3: the links"));
  placement::LinkClass link{0, 1e18};
  for (const coordinator::RankStatus& rank : measured.status.ranks) {
    link.latency_s = std::max(link.latency_s, rank.exchange_latency_seconds);
    link.bytes_per_s = std::min(link.bytes_per_s, rank.exchange_bytes_per_second);
  }
  if (link.bytes_per_s > 0) return Links{link, idle_seconds(measured.decode.front()), short_run.batches.front()};
  return absl::UnimplementedError("the links of this model's groups cannot be measured: they run the fixed plan only");
}

class Prediction {
 public:
  Prediction(const BenchSimulateOptions& o, const model::ModelSpec& spec, RoutingRows rows)
      : o_(o), spec_(spec), rows_(std::move(rows)) {}

  void fit(const Measured& alone) {
    const PlacementTable table = PlacementTable::contiguous(spec_.moe_layers(), spec_.experts, 1);
    placement::SimulationInput input = input_for(table);
    std::vector<MeasuredStep> steps;
    fit_overhead(alone, &input.cluster);
    for (size_t i = 0; i < o_.batches.size(); ++i) {
      const bench::Phase& phase = alone.decode[i];
      steps.push_back({static_cast<double>(o_.batches[i]), context_of(o_.bench), phase.seconds_per_step});
    }
    cluster_ = placement::fit_rank(input, steps);
  }

  absl::StatusOr<std::vector<Compared>> compare(const Links& links, const Measured& group) {
    cluster_.ranks_per_node = {o_.group.ranks};
    cluster_.intra_node = cluster_.inter_node = links.link;
    cluster_.step_overhead_s = std::max(0.0, links.idle_s - links.batch * cluster_.token_overhead_s);
    PlacementTable table = PlacementTable::contiguous(spec_.moe_layers(), spec_.experts, o_.group.ranks);
    if (!o_.group.placement_json.empty()) {
      ASSIGN_OR_RETURN(table, PlacementTable::from_json(o_.group.placement_json, o_.group.placement));
    }
    placement::SimulationInput input = input_for(table);
    input.cluster = cluster_;
    input.plan = group.status.plan == "coherent" ? placement::Plan::kCoherent : placement::Plan::kFixed;
    std::vector<Compared> all;
    for (size_t i = 0; i < o_.batches.size(); ++i) {
      input.batch = o_.batches[i];
      all.push_back({o_.batches[i], group.decode[i].seconds_per_step, placement::simulate_step(input)});
    }
    return all;
  }

  const ClusterSpec& cluster() const { return cluster_; }

 private:
  // A line through the times in which the rank was not in the step.
  void fit_overhead(const Measured& alone, ClusterSpec* cluster) const {
    double mean_batch = 0, mean_idle = 0, covariance = 0, variance = 0;
    const auto n = static_cast<double>(o_.batches.size());
    for (size_t i = 0; i < o_.batches.size(); ++i) {
      mean_batch += o_.batches[i] / n;
      mean_idle += idle_seconds(alone.decode[i]) / n;
    }
    for (size_t i = 0; i < o_.batches.size(); ++i) {
      covariance += (o_.batches[i] - mean_batch) * (idle_seconds(alone.decode[i]) - mean_idle);
      variance += (o_.batches[i] - mean_batch) * (o_.batches[i] - mean_batch);
    }
    cluster->token_overhead_s = variance > 0 ? std::max(0.0, covariance / variance) : 0;
    cluster->step_overhead_s = std::max(0.0, mean_idle - cluster->token_overhead_s * mean_batch);
  }
  placement::SimulationInput input_for(const PlacementTable& table) {
    homes_ = placement::round_robin_homes(rows_, table.ranks());
    placement::SimulationInput input;
    input.rows = &rows_;
    input.home_of_row = homes_;
    input.table = &table;
    input.spec = &spec_;
    input.context = context_of(o_.bench);
    input.weight_bytes = static_cast<double>(dtype_bytes(activation_dtype(resolved_compute(o_.group, spec_))));
    return input;
  }

  const BenchSimulateOptions& o_;
  const model::ModelSpec& spec_;
  RoutingRows rows_;
  std::vector<int32_t> homes_;
  ClusterSpec cluster_;
};

void print(const BenchSimulateOptions& o, const ClusterSpec& cluster, const Measured& alone,
           const std::vector<Compared>& compared) {
  std::printf("a rank: %.2f GFLOP/s, reads %.2f GB/s, %.1f us a layer, %.1f us a step, %.1f us a token; a link: %.1f us, %.2f GB/s\n",
              cluster.flops_per_s / 1e9, cluster.weight_bytes_per_s / 1e9, 1e6 * cluster.layer_overhead_s,
              1e6 * cluster.step_overhead_s, 1e6 * cluster.token_overhead_s, 1e6 * cluster.intra_node.latency_s, cluster.intra_node.bytes_per_s / 1e9);
  for (size_t i = 0; i < o.batches.size(); ++i)
    std::printf("one rank   batch %4d  measured %10.3f ms\n", o.batches[i], 1e3 * alone.decode[i].seconds_per_step);
  for (const Compared& step : compared) {
    std::printf("%d ranks    batch %4d  measured %10.3f ms  predicted %10.3f ms  predicted/measured %.3f  exchange %.3f ms\n",
                o.group.ranks, step.batch, 1e3 * step.measured_s, 1e3 * step.predicted.total_s(), step.ratio(),
                1e3 * (step.predicted.exchange_s + step.predicted.kv_publish_s));
  }
}

nlohmann::ordered_json to_json(const BenchSimulateOptions& o, const ClusterSpec& cluster, const Measured& alone,
                               const std::vector<Compared>& compared) {
  nlohmann::ordered_json json{{"ranks", o.group.ranks}, {"cluster", nlohmann::ordered_json::parse(cluster.to_json())}};
  for (size_t i = 0; i < o.batches.size(); ++i)
    json["one_rank"].push_back({{"batch", o.batches[i]}, {"measured_s", alone.decode[i].seconds_per_step}});
  for (const Compared& step : compared) {
    json["steps"].push_back({{"batch", step.batch}, {"measured_s", step.measured_s},
                             {"predicted_s", step.predicted.total_s()}, {"predicted_over_measured", step.ratio()}});
  }
  return json;
}

absl::Status run(BenchSimulateOptions o) {
  if (o.shape.empty() == o.group.model.empty()) return absl::InvalidArgumentError("give either --model DIR or --shape NAME");
  if (o.group.ranks < 2) return absl::InvalidArgumentError("--ranks must be at least 2: one rank is what is measured to predict them");
  RETURN_IF_ERROR(prepare(&o.group));
  if (o.group.threads == 0) o.group.threads = 1;
  ASSIGN_OR_RETURN(const Measured alone, measure_alone(o));
  if (alone.spec.moe_layers().empty()) return absl::InvalidArgumentError("the model has no routed experts to simulate");
  ASSIGN_OR_RETURN(RoutingRows rows, routing(o, alone.spec));
  Prediction prediction(o, alone.spec, std::move(rows));
  prediction.fit(alone);
  ASSIGN_OR_RETURN(const Links links, measure_links(o));
  ASSIGN_OR_RETURN(const Measured group, measure(o.group, o, absl::StrCat("3 of 3: ", o.group.ranks, " ranks")));
  ASSIGN_OR_RETURN(const std::vector<Compared> compared, prediction.compare(links, group));
  if (!o.out.empty()) RETURN_IF_ERROR(write_file_atomically(o.out, prediction.cluster().to_json() + "\n"));
  if (o.output == "text") {
    print(o, prediction.cluster(), alone, compared);
  } else {
    std::puts(to_json(o, prediction.cluster(), alone, compared).dump(2).c_str());
  }
  return absl::OkStatus();
}

}  // namespace

void add_bench_simulate_command(CLI::App& parent, int* exit_code) {
  auto o = std::make_shared<BenchSimulateOptions>();
  CLI::App* command = parent.add_subcommand(
      "simulate", "Predict a group's decode steps from one rank and its links, run them, and show both");
  command->footer("Writes what it measured as a cluster description for `conclave simulate` and `conclave place`.\n\n" +
                  std::string(kExitCodeHelp));
  add_group_flags(*command, &o->group, /*need_model=*/false);
  command->add_option("--shape", o->shape, "a shape of bench/shapes or a file: random weights instead of a model");
  command->add_option("--trace", o->trace, "routing of the model, for what is sent; without one: uniform");
  command->add_option("--batch", o->batches, "sequences decoded together; three or more tell the figures apart")
      ->delimiter(',')->check(CLI::Range(1, 4096));
  command->add_option("--prompt", o->bench.prompt_tokens, "context before decoding")->check(CLI::Range(1, 1 << 20));
  command->add_option("--decode", o->bench.decode_tokens, "decode steps")->check(CLI::Range(8, 1 << 20));
  command->add_option("--repeats", o->bench.repeats, "best of so many")->check(CLI::Range(1, 1000));
  command->add_option("--out", o->out, "write the measured cluster description here (JSON)");
  command->add_option("-o,--output", o->output, "text or json")->check(CLI::IsMember({"text", "json"}));
  command->callback([o, exit_code] { *exit_code = report(run(*o)); });
}

}  // namespace conclave::cli
