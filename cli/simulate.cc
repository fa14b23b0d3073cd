#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "cli/commands.h"
#include "cli/exit_codes.h"
#include "cli/placement_input.h"
#include "expert_placement/homes/homes.h"
#include "expert_placement/simulator/step_simulator.h"

namespace conclave::cli {
namespace {

using placement::ClusterSpec;
using placement::PlacementTable;
using placement::SimulatedStep;

struct SimulateOptions {
  PlacementInputOptions input;
  std::vector<int32_t> ranks;
  int32_t ranks_per_node = 8;
  std::string table, plan = "fixed", solver = "contiguous", objective = "messages", output = "text";
  double batch = 64, context = 512, weight_bytes = 2, time_limit = 10, max_imbalance = 1.15;
};

struct Row {
  int32_t ranks = 0, nodes = 0;
  SimulatedStep step;
};

// The clusters to simulate: the one described, or one for each number of ranks with its links.
absl::StatusOr<std::vector<ClusterSpec>> clusters_of(const SimulateOptions& o) {
  std::vector<ClusterSpec> clusters;
  ClusterSpec links;
  if (!o.input.cluster.empty()) {
    ASSIGN_OR_RETURN(links, ClusterSpec::load(o.input.cluster));
    if (o.ranks.empty()) return std::vector<ClusterSpec>{links};
  }
  if (o.ranks.empty()) return absl::InvalidArgumentError("give --ranks N[,N...] or --cluster FILE");
  if (o.ranks_per_node < 1)
    return absl::InvalidArgumentError("--ranks-per-node must be at least 1");
  for (int32_t ranks : o.ranks) {
    ASSIGN_OR_RETURN(
        const ClusterSpec even,
        ClusterSpec::even(ranks, std::max(1, (ranks + o.ranks_per_node - 1) / o.ranks_per_node)));
    ClusterSpec cluster = links;
    cluster.ranks_per_node = even.ranks_per_node;
    clusters.push_back(cluster);
  }
  return clusters;
}

absl::StatusOr<PlacementTable> table_for(const SimulateOptions& o, const PlacementInput& input,
                                         const ClusterSpec& cluster) {
  if (!o.table.empty()) {
    ASSIGN_OR_RETURN(const std::string text, read_file(o.table));
    ASSIGN_OR_RETURN(PlacementTable table, PlacementTable::from_json(text, o.table));
    RETURN_IF_ERROR(table.check_fits(input.profile.shape().moe_layers, input.profile.experts(),
                                     cluster.ranks(), input.profile.model_fingerprint()));
    table.set_ranks_per_node(cluster.ranks_per_node);
    return table;
  }
  placement::Problem problem;
  problem.profile = &input.profile;
  problem.cluster = cluster;
  problem.cost = expert_cost(input.model, o.batch);
  problem.max_imbalance = o.max_imbalance;
  problem.time_limit_s = o.time_limit;
  ASSIGN_OR_RETURN(problem.solver, placement::parse_solver(o.solver));
  ASSIGN_OR_RETURN(problem.objective, placement::parse_objective(o.objective));
  ASSIGN_OR_RETURN(problem.plan, placement::parse_plan(o.plan));
  ASSIGN_OR_RETURN(placement::Solution solution, placement::solve(problem));
  return std::move(solution.table);
}

absl::StatusOr<Row> simulate_one(const SimulateOptions& o, const PlacementInput& input,
                                 const ClusterSpec& cluster) {
  ASSIGN_OR_RETURN(const PlacementTable table, table_for(o, input, cluster));
  // Judged on sequences the table has not seen where there are some; homes come from a sequence's
  // first half.
  const placement::RoutingRows& seen = input.test ? *input.test : input.profile.samples();
  if (seen.rows() == 0)
    return absl::InvalidArgumentError(
        "simulate needs recorded rows; give --trace, or a profile saved as .safetensors");
  const placement::RowsByPosition rows = placement::split_at_position(seen, 256);
  const placement::RoutingRows& judged = rows.after.rows() > 0 ? rows.after : seen;
  const std::vector<int32_t> homes = placement::matched_homes(rows.before, judged, table);
  placement::SimulationInput simulation;
  simulation.rows = &judged;
  simulation.home_of_row = homes;
  simulation.table = &table;
  simulation.spec = &input.model->spec;
  simulation.cluster = cluster;
  simulation.batch = o.batch;
  simulation.context = o.context;
  simulation.weight_bytes = o.weight_bytes;
  ASSIGN_OR_RETURN(simulation.plan, placement::parse_plan(o.plan));
  return Row{cluster.ranks(), cluster.nodes(), placement::simulate_step(simulation)};
}

nlohmann::ordered_json to_json(const Row& row, double batch) {
  const SimulatedStep& s = row.step;
  return {{"ranks", row.ranks},
          {"nodes", row.nodes},
          {"step_s", s.total_s()},
          {"tokens_per_s", batch / s.total_s()},
          {"attention_s", s.attention_s},
          {"experts_s", s.experts_s},
          {"exchange_s", s.exchange_s},
          {"kv_publish_s", s.kv_publish_s},
          {"head_s", s.head_s},
          {"overhead_s", s.overhead_s},
          {"messages_per_token_layer", s.traffic.messages_per_token_layer()},
          {"dispatched", s.traffic.dispatched},
          {"returned", s.traffic.returned},
          {"returned_rows", s.traffic.returned_rows},
          {"recorded_rows", s.traffic.rows},
          {"bytes_in_nodes", s.bytes_in_nodes},
          {"bytes_between_nodes", s.bytes_between_nodes},
          {"kv_bytes_per_token", s.kv_bytes_per_token},
          {"worst_balance", s.worst_balance}};
}

constexpr double kMiB = 1 << 20;

void print_text(const std::vector<Row>& rows, double batch) {
  std::printf("%6s %6s %10s %12s %10s %10s %10s %9s %12s %12s %8s\n", "ranks", "nodes", "step ms",
              "tokens/s", "experts ms", "exch. ms", "attn. ms", "messages", "MiB in nodes",
              "MiB between", "balance");
  for (const Row& row : rows) {
    const SimulatedStep& s = row.step;
    std::printf("%6d %6d %10.3f %12.1f %10.3f %10.3f %10.3f %9.3f %12.3f %12.3f %8.2f\n", row.ranks,
                row.nodes, s.total_s() * 1e3, batch / s.total_s(), s.experts_s * 1e3,
                (s.exchange_s + s.kv_publish_s) * 1e3, s.attention_s * 1e3,
                s.traffic.messages_per_token_layer(), s.bytes_in_nodes / kMiB,
                s.bytes_between_nodes / kMiB, s.worst_balance);
  }
}

absl::Status simulate(const SimulateOptions& o) {
  if (o.input.model.empty())
    return absl::InvalidArgumentError("simulate needs --model FOLDER or a shape file");
  if (!(o.batch >= 1)) return absl::InvalidArgumentError("--batch must be at least 1 token");
  ASSIGN_OR_RETURN(const PlacementInput input, read_routing(o.input));
  ASSIGN_OR_RETURN(const std::vector<ClusterSpec> clusters, clusters_of(o));
  std::vector<Row> rows;
  for (const ClusterSpec& cluster : clusters) {
    ASSIGN_OR_RETURN(Row row, simulate_one(o, input, cluster));
    rows.push_back(std::move(row));
  }
  if (o.output == "text") {
    print_text(rows, o.batch);
    return absl::OkStatus();
  }
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const Row& row : rows) list.push_back(to_json(row, o.batch));
  std::puts(nlohmann::ordered_json{
      {"plan", o.plan}, {"batch", o.batch}, {"context", o.context}, {"steps", list}}
                .dump(2)
                .c_str());
  return absl::OkStatus();
}

}  // namespace

void add_simulate_command(CLI::App& app, int* exit_code) {
  auto o = std::make_shared<SimulateOptions>();
  CLI::App* command = app.add_subcommand(
      "simulate", "Predict step time, traffic and balance of a cluster from recorded routing");
  command->footer(std::string(kExitCodeHelp));
  add_routing_flags(*command, &o->input);
  command->add_option("--cluster", o->input.cluster,
                      "cluster description (JSON); with --ranks only its links and rates count");
  command->add_option("--ranks", o->ranks, "numbers of ranks, one row each")->delimiter(',');
  command->add_option("--ranks-per-node", o->ranks_per_node, "of the clusters that --ranks makes");
  command->add_option("--table", o->table, "placement table; without one --solver makes it");
  command->add_option("--solver", o->solver, "contiguous, round_robin, eplb, flow, auto, search, ilp or exact");
  command->add_option("--objective", o->objective, "of the solver: transitions, messages or time");
  command->add_option("--max-imbalance", o->max_imbalance, "of the solver");
  command->add_option("--time-limit", o->time_limit, "seconds of the solver, for each row");
  command->add_option("--plan", o->plan, "fixed or coherent");
  command->add_option("--batch", o->batch, "tokens of a step, all ranks together");
  command->add_option("--context", o->context, "tokens of K/V that each token attends to");
  command->add_option("--weight-bytes", o->weight_bytes,
                      "bytes of a weight and of an activation on the wire: 2 or 4");
  command->add_option("-o,--output", o->output, "text or json")
      ->check(CLI::IsMember({"text", "json"}));
  command->callback([o, exit_code] { *exit_code = report(simulate(*o)); });
}

}  // namespace conclave::cli
