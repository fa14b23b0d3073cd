#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "cli/commands.h"
#include "cli/exit_codes.h"
#include "cli/placement_input.h"
#include "cli/progress_bar.h"
#include "expert_placement/baselines/baselines.h"
#include "expert_placement/objective/held_out.h"
#include "expert_placement/objective/traffic.h"
#include "expert_placement/report/html_report.h"

namespace conclave::cli {
namespace {

using placement::HeldOutFigures;
using placement::PlacementTable;
using placement::Problem;
using placement::Solution;

struct PlaceOptions {
  PlacementInputOptions input;
  std::string objective = "transitions", plan = "fixed", solver = "auto";
  std::string replicas = "0", start, out, report, output = "text";
  double max_imbalance = 1.15, time_limit = 60, batch = 64;
  int64_t migration_budget = -1;
  uint64_t seed = 1;
  int32_t threads = 2;
};

struct Judged {
  std::string name;
  HeldOutFigures figures;
};

// "3": slots per rank and layer; "10%": of all experts' memory.
absl::Status parse_replicas(const std::string& text, Problem* problem) {
  double percent = 0;
  if (!text.empty() && text.back() == '%' &&
      absl::SimpleAtod(text.substr(0, text.size() - 1), &percent) && percent >= 0 &&
      percent <= 1000) {
    problem->replica_share = percent / 100;
    return absl::OkStatus();
  }
  if (absl::SimpleAtoi(text, &problem->replicas) && problem->replicas >= 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--replicas \"", text,
                   "\": expected slots per rank and layer (1) or a share of "
                   "expert memory (10%)"));
}

absl::StatusOr<Problem> make_problem(const PlaceOptions& o, const PlacementInput& input) {
  Problem problem;
  problem.profile = &input.profile;
  ASSIGN_OR_RETURN(problem.cluster, read_cluster(o.input));
  ASSIGN_OR_RETURN(problem.objective, placement::parse_objective(o.objective));
  ASSIGN_OR_RETURN(problem.plan, placement::parse_plan(o.plan));
  ASSIGN_OR_RETURN(problem.solver, placement::parse_solver(o.solver));
  RETURN_IF_ERROR(parse_replicas(o.replicas, &problem));
  problem.cost = expert_cost(input.model, o.batch);
  problem.max_imbalance = o.max_imbalance;
  problem.time_limit_s = o.time_limit;
  problem.migration_budget = o.migration_budget;
  problem.seed = o.seed;
  problem.threads = o.threads;
  return problem;
}

std::vector<Judged> judge(const PlacementInput& input, const Problem& problem,
                          const PlacementTable& table) {
  std::vector<Judged> all;
  if (!input.test) return all;
  const int32_t ranks = problem.cluster.ranks();
  const int32_t extra =
      problem.replica_share > 0 || problem.replicas > 0 ? ranks * std::max(1, problem.replicas) : 0;
  all.push_back({"contiguous", placement::judge_held_out(*input.test, placement::contiguous_table(
                                                                          input.profile, ranks))});
  PlacementTable eplb = placement::eplb_table(input.profile, ranks, extra);
  eplb.set_ranks_per_node(problem.cluster.ranks_per_node);
  all.push_back({"eplb", placement::judge_held_out(*input.test, eplb)});
  all.push_back({"this table", placement::judge_held_out(*input.test, table)});
  return all;
}

nlohmann::ordered_json held_out_json(const std::vector<Judged>& judged) {
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const auto& [name, f] : judged) {
    rows.push_back({{"table", name},
                    {"crossing_share", f.crossing_share},
                    {"worst_balance", f.worst_balance},
                    {"messages_fixed_round_robin", f.fixed_round_robin},
                    {"messages_fixed_matched", f.fixed_matched},
                    {"messages_coherent", f.coherent_matched},
                    {"rows_fixed", f.fixed_rows},
                    {"rows_coherent", f.coherent_rows}});
  }
  return rows;
}

nlohmann::ordered_json to_json(const Problem& problem, const Solution& s,
                               const std::vector<Judged>& judged) {
  nlohmann::ordered_json json{
      {"solver", s.solver},
      {"objective", placement::name_of(problem.objective)},
      {"plan", placement::name_of(problem.plan)},
      {"objective_before", s.objective_before},
      {"objective_after", s.objective_after},
      {"lower_bound", nullptr},
      {"gap", nullptr},
      {"start_obeys_limits", s.start_obeys_cap},
      {"balance", s.balance},
      {"balance_cap", s.balance_cap},
      {"moved_experts", s.moved_experts},
      {"bytes_to_move", static_cast<double>(s.moved_experts) * problem.cost.weight_bytes},
      {"slots_per_rank", s.table.slots_per_rank()},
      {"profile_id", s.table.profile_id()},
      {"seconds", s.seconds}};
  if (s.lower_bound) json["lower_bound"] = *s.lower_bound;
  if (s.gap()) json["gap"] = *s.gap();
  if (!judged.empty()) json["held_out"] = held_out_json(judged);
  return json;
}

const char* unit_of(placement::Objective objective) {
  switch (objective) {
    case placement::Objective::kTransitions:
      return "of the transitions cross ranks";
    case placement::Objective::kMessages:
      return "messages per token and layer";
    case placement::Objective::kTime:
      return "seconds per layer";
  }
  return "";
}

void print_text(const Problem& problem, const Solution& s, const std::vector<Judged>& judged) {
  const char* before = problem.start != nullptr ? "the table in force" : "contiguous";
  std::printf("objective    %s: %.6g with %s, %.6g now (%+.1f %%); %s\n",
              placement::name_of(problem.objective), s.objective_before, before, s.objective_after,
              s.objective_before > 0 ? 100 * (s.objective_after / s.objective_before - 1) : 0.0,
              unit_of(problem.objective));
  if (!s.start_obeys_cap)
    std::printf("note         %s does not obey the balance cap or the memory\n", before);
  if (s.lower_bound) {
    std::printf("lower bound  %.6g, gap %.1f %%%s\n", *s.lower_bound, 100 * *s.gap(),
                *s.gap() < 1e-9 ? " (optimal)" : "");
  } else {
    std::printf("lower bound  none is known for this objective with these limits\n");
  }
  const auto worst = std::max_element(s.balance.begin(), s.balance.end()) - s.balance.begin();
  std::printf("balance      worst layer %td: max/mean %.3f, cap %.3f; by layer", worst,
              s.balance[static_cast<size_t>(worst)], s.balance_cap[static_cast<size_t>(worst)]);
  for (double balance : s.balance) std::printf(" %.2f", balance);
  std::printf(
      "\nslots        %d experts per rank and layer\nmoves        %lld copies (%s)\nsolver    "
      "   %s, %.1f s\n",
      s.table.slots_per_rank(), static_cast<long long>(s.moved_experts),
      format_bytes(static_cast<uint64_t>(static_cast<double>(s.moved_experts) *
                                         problem.cost.weight_bytes))
          .c_str(),
      s.solver.c_str(), s.seconds);
  if (judged.empty()) return;
  std::printf(
      "held out     %-12s crossing  less  balance   messages: fixed round-robin  fixed matched  "
      "coherent\n",
      "");
  for (const auto& [name, f] : judged) {
    const double base = judged.front().figures.crossing_share;
    std::printf("             %-12s %7.4f %5.1f%% %8.3f %29.3f %14.3f %9.3f\n", name.c_str(),
                f.crossing_share, base > 0 ? 100 * (1 - f.crossing_share / base) : 0.0,
                f.worst_balance, f.fixed_round_robin, f.fixed_matched, f.coherent_matched);
  }
}

absl::Status place(const PlaceOptions& o) {
  ASSIGN_OR_RETURN(const PlacementInput input, read_routing(o.input));
  ASSIGN_OR_RETURN(Problem problem, make_problem(o, input));
  PlacementTable start;
  if (!o.start.empty()) {
    ASSIGN_OR_RETURN(const std::string text, read_file(o.start));
    ASSIGN_OR_RETURN(start, PlacementTable::from_json(text, o.start));
    RETURN_IF_ERROR(start.check_fits(input.profile.shape().moe_layers, input.profile.experts(),
                                     problem.cluster.ranks(), input.profile.model_fingerprint()));
    problem.start = &start;
  }
  ASSIGN_OR_RETURN(Solution solution, placement::solve(problem));
  solution.table.set_epoch(problem.start != nullptr ? start.epoch() + 1 : 0);
  if (!o.out.empty())
    RETURN_IF_ERROR(write_file_atomically(o.out, solution.table.to_json() + "\n"));
  if (!o.report.empty())
    RETURN_IF_ERROR(write_file_atomically(o.report, placement::html_report(problem, solution)));
  const std::vector<Judged> judged = judge(input, problem, solution.table);
  if (o.output == "json") {
    std::puts(to_json(problem, solution, judged).dump(2).c_str());
  } else {
    print_text(problem, solution, judged);
  }
  return absl::OkStatus();
}

}  // namespace

void add_place_command(CLI::App& app, int* exit_code) {
  auto o = std::make_shared<PlaceOptions>();
  CLI::App* command = app.add_subcommand(
      "place", "Decide which expert lives on which rank, and say how good that is");
  command->footer(std::string(kExitCodeHelp));
  add_routing_flags(*command, &o->input);
  add_cluster_flags(*command, &o->input);
  command->add_option("--objective", o->objective, "transitions, messages or time");
  command->add_option("--plan", o->plan,
                      "fixed or coherent: the dataflow that messages and time are about");
  command->add_option("--max-imbalance", o->max_imbalance,
                      "cap on max/mean rank load of every layer, on the profile");
  command->add_option(
      "--replicas", o->replicas,
      "extra expert slots per rank and layer, or a share of all expert memory: 10%");
  command->add_option("--solver", o->solver,
                      "auto, search, ilp, exact, contiguous, round_robin, eplb or flow");
  command->add_option("--time-limit", o->time_limit, "seconds; the best table found until then");
  command->add_option("--seed", o->seed, "of the search");
  command->add_option("--threads", o->threads, "of the search; the same number gives the same table")
      ->check(CLI::Range(1, 256));
  command->add_option("--batch", o->batch, "tokens of a step, for --objective time");
  command->add_option("--start", o->start,
                      "table in force: names ranks alike, counts moves against it");
  command->add_option("--migration-budget", o->migration_budget,
                      "most expert copies that may move from --start; -1: any number");
  command->add_option("--out", o->out, "write the table here (JSON)");
  command->add_option("--report", o->report, "write a self-contained HTML report here");
  command->add_option("-o,--output", o->output, "text or json")
      ->check(CLI::IsMember({"text", "json"}));
  command->callback([o, exit_code] { *exit_code = report(place(*o)); });
}

}  // namespace conclave::cli
