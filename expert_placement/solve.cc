#include "expert_placement/solve.h"

#include <algorithm>
#include <limits>

#include "base/status_macros.h"
#include "expert_placement/baselines/baselines.h"
#include "expert_placement/bounds/chain_bounds.h"
#include "expert_placement/homes/homes.h"
#include "expert_placement/objective/traffic.h"
#include "expert_placement/replicas/replica_search.h"
#include "expert_placement/solver/flow_table.h"
#include "expert_placement/solver/integer_steps.h"
#include "expert_placement/solver/single_copies.h"

namespace conclave::placement {
namespace {

constexpr double kStarPartitions = 3e5;
constexpr int64_t kNoBudget = std::numeric_limits<int64_t>::max();

struct Candidate {
  PlacementTable table;
  std::string solver;
  double objective = 0;
  bool optimal = false;
};

bool single_copies(const PlacementTable& table) {
  for (int32_t layer = 0; layer < table.layers(); ++layer) {
    for (int32_t expert = 0; expert < table.experts(); ++expert) {
      if (table.holders(layer, expert).size() > 1) return false;
    }
  }
  return true;
}

Assignment assignment_of(const PlacementTable& table) {
  Assignment assignment{table.experts(), {}};
  for (int32_t layer = 0; layer < table.layers(); ++layer) {
    for (int32_t expert = 0; expert < table.experts(); ++expert)
      assignment.rank_of.push_back(table.holders(layer, expert)[0]);
  }
  return assignment;
}

// DeepSeek's load balancing with the copies that the problem allows.
PlacementTable balanced_copies(const Problem& problem) {
  const RoutingProfile& profile = *problem.profile;
  const int32_t ranks = problem.cluster.ranks();
  const int32_t extra = problem.replica_share > 0
                            ? static_cast<int32_t>(problem.replica_share * profile.experts())
                            : ranks * problem.replicas;
  return eplb_table(profile, ranks, extra);
}

// What needs no search, as far as it obeys cap and memory.
std::vector<Candidate> baselines(const Evaluation& evaluation) {
  const RoutingProfile& profile = *evaluation.problem().profile;
  const int32_t ranks = evaluation.instance().ranks();
  std::vector<Candidate> all = {{contiguous_table(profile, ranks), "contiguous"},
                                {round_robin_table(profile, ranks), "round_robin"},
                                {evaluation.table_of(evaluation.balanced_start()), "balanced"},
                                {balanced_copies(evaluation.problem()), "eplb"}};
  if (flow_matters(evaluation)) all.push_back({flow_table(evaluation), "flow"});
  std::erase_if(all, [&](const Candidate& c) { return !evaluation.allowed(c.table); });
  for (Candidate& candidate : all) candidate.objective = evaluation.objective(candidate.table);
  return all;
}

// Whether integer programs shall improve what a search found. Only crossings are linear in copies.
bool uses_programs(const Problem& problem) {
  return problem.solver == SolverKind::kIlp && problem.objective == Objective::kTransitions;
}

Candidate add_replicas(const Evaluation& evaluation, const Candidate& single,
                       const SearchClock& clock) {
  const Problem& problem = evaluation.problem();
  const RoutingRows& rows = evaluation.rows();
  // Copies are judged by what travels; seconds follow from that.
  const Objective judged =
      problem.objective == Objective::kTime ? Objective::kMessages : problem.objective;
  ReplicaState state(rows, judged, problem.plan, matched_homes(rows, rows, single.table),
                     evaluation.replica_limits(), evaluation.on_nodes(single.table));
  search_replicas(uses_programs(problem) ? clock.part(0.6) : clock, problem.seed, 2e4, &state);
  Candidate found{state.table(problem.profile->shape().moe_layers), single.solver + "+replicas"};
  if (uses_programs(problem) && improve_copies(evaluation, clock, nullptr, -1, &found.table) > 0)
    found.solver += "+ilp";
  found.objective = evaluation.objective(found.table);
  return found;
}

absl::StatusOr<Candidate> search(const Evaluation& evaluation, const SearchClock& clock) {
  const bool replicas = evaluation.wants_replicas();
  ASSIGN_OR_RETURN(SingleCopies found,
                   solve_single_copies(evaluation, clock.part(replicas ? 0.25 : 1)));
  Candidate single{evaluation.table_of(found.assignment), found.solver, 0, found.optimal};
  single.objective = evaluation.objective(single.table);
  if (!replicas || clock.expired()) return single;
  const Candidate more = add_replicas(evaluation, single, clock);
  return more.objective < single.objective && evaluation.allowed(more.table) ? more : single;
}

// Whole layers of `to`, those that save most for each copy moved first, as far as the budget goes.
PlacementTable adopt_layers(const Evaluation& evaluation, const PlacementTable& from,
                            const PlacementTable& to, int64_t budget, const SearchClock& clock) {
  const auto with_layer = [&](const PlacementTable& table, int32_t adopted) {
    std::vector<std::vector<std::vector<int32_t>>> holders(static_cast<size_t>(table.layers()));
    for (int32_t layer = 0; layer < table.layers(); ++layer) {
      for (int32_t expert = 0; expert < table.experts(); ++expert) {
        const auto where = (layer == adopted ? to : table).holders(layer, expert);
        holders[static_cast<size_t>(layer)].emplace_back(where.begin(), where.end());
      }
    }
    const auto layers = table.moe_layers();
    return *PlacementTable::from_holders({layers.begin(), layers.end()}, table.experts(),
                                         table.ranks(), holders);
  };
  PlacementTable best = from;
  double value = evaluation.objective(best);
  for (bool any = true; any && !clock.expired();) {
    any = false;
    PlacementTable next = best;
    double next_value = value;
    for (int32_t layer = 0; layer < from.layers() && !clock.expired(); ++layer) {
      PlacementTable tried = with_layer(best, layer);
      if (moved_experts(from, tried) > budget || !evaluation.allowed(tried)) continue;
      const double tried_value = evaluation.objective(tried);
      if (tried_value < next_value) next = std::move(tried), next_value = tried_value, any = true;
    }
    if (any) best = std::move(next), value = next_value;
  }
  return best;
}

// Fewest predicted seconds: fewest messages under caps from loose to tight, then the best of these
// layer by layer. What is compared is seconds, of all links and the fullest rank.
absl::StatusOr<Candidate> search_time(const Problem& problem, const Evaluation& evaluation,
                                      const SearchClock& clock) {
  const SearchClock searching = clock.part(0.8);
  std::vector<Candidate> found;
  const double loose = problem.max_imbalance;
  int left = 3;
  for (const double cap : {loose, 1 + (loose - 1) * 0.4, 1 + (loose - 1) * 0.1}) {
    Problem part = problem;
    part.max_imbalance = cap;
    ASSIGN_OR_RETURN(const Evaluation tighter, Evaluation::create(part));
    ASSIGN_OR_RETURN(Candidate one, search(tighter, searching.part(1.0 / left--)));
    one.objective = evaluation.objective(one.table);
    found.push_back(std::move(one));
    if (searching.expired()) break;
  }
  std::sort(found.begin(), found.end(),
            [](const Candidate& a, const Candidate& b) { return a.objective < b.objective; });
  Candidate best = found.front();
  for (size_t i = 1; i < found.size() && !clock.expired(); ++i) {
    const PlacementTable other = align_labels(found[i].table, best.table, problem.cluster);
    best.table = adopt_layers(evaluation, best.table, other, kNoBudget, clock);
  }
  best.objective = evaluation.objective(best.table);
  return best;
}

// The start, changed by as many moves as the budget allows.
PlacementTable repair(const Evaluation& evaluation, const Assignment& start,
                      const SearchClock& clock) {
  const Problem& problem = evaluation.problem();
  Assignment repaired =
      repair_single_copies(evaluation, start, problem.migration_budget, clock.part(0.7));
  if (uses_programs(problem)) {
    improve_single_copies(evaluation, clock.part(0.7),
                          MoveBudget{&start, problem.migration_budget}, &repaired);
  }
  return evaluation.table_of(repaired);
}

// The same where experts have copies: whole layers of `to`.
PlacementTable adopt(const Evaluation& evaluation, const PlacementTable& start,
                     const PlacementTable& to, const SearchClock& clock) {
  const Problem& problem = evaluation.problem();
  PlacementTable adopted =
      adopt_layers(evaluation, start, to, problem.migration_budget, clock.part(0.7));
  if (uses_programs(problem))
    improve_copies(evaluation, clock.part(0.7), &start, problem.migration_budget, &adopted);
  return adopted;
}

// Names ranks as `start` does and keeps the number of moved copies within the budget.
Candidate near_start(const Evaluation& evaluation, Candidate found, const SearchClock& clock) {
  const Problem& problem = evaluation.problem();
  const PlacementTable& start = *problem.start;
  found.table = align_labels(found.table, start, problem.cluster);
  // The nearest copy depends on rank numbers, so with replicas new names change the figure a
  // little.
  if (!single_copies(found.table)) found.objective = evaluation.objective(found.table);
  const bool within =
      problem.migration_budget < 0 || moved_experts(start, found.table) <= problem.migration_budget;
  const double before = evaluation.objective(start);
  const bool start_allowed = evaluation.allowed(start);
  if (within && (found.objective < before || !start_allowed)) return found;
  if (!within) {
    const bool single = single_copies(start) && single_copies(found.table);
    const PlacementTable repaired = single
                                        ? repair(evaluation, assignment_of(start), clock)
                                        : adopt(evaluation, start, found.table, clock);
    const double value = evaluation.objective(repaired);
    if (value < before || !start_allowed) return {repaired, found.solver + "+budget", value, false};
  }
  return {start, "start", before, false};
}

void prove(const Evaluation& evaluation, const SearchClock& clock, const Candidate& found,
           Solution* solution) {
  const Problem& problem = evaluation.problem();
  if (evaluation.wants_replicas()) return;
  const ChainInstance& instance = evaluation.instance();
  if (found.optimal) {
    solution->lower_bound = found.objective;
  } else if (problem.objective == Objective::kTransitions) {
    if (const auto kept = pair_bound(instance, clock))
      solution->lower_bound = evaluation.crossing_bound(*kept);
    if (const auto kept = star_bound(instance, kStarPartitions, clock)) {
      solution->lower_bound =
          std::max(solution->lower_bound.value_or(0), evaluation.crossing_bound(*kept));
    }
  } else if (problem.objective == Objective::kMessages && evaluation.rows().rows() > 0) {
    const auto judged =
        RoutingProfile::from_rows(evaluation.rows(), problem.profile->shape().moe_layers, 0);
    if (judged.ok())
      solution->lower_bound =
          message_bound(*judged, instance.ranks(), evaluation.slots(), problem.plan);
  }
}

absl::StatusOr<Candidate> run_solver(const Evaluation& evaluation, const SearchClock& clock) {
  const Problem& problem = evaluation.problem();
  const RoutingProfile& profile = *problem.profile;
  const int32_t ranks = evaluation.instance().ranks();
  const auto plain = [&](PlacementTable table) {
    Candidate candidate{std::move(table), name_of(problem.solver)};
    candidate.objective = evaluation.objective(candidate.table);
    return candidate;
  };
  if (problem.solver == SolverKind::kContiguous) return plain(contiguous_table(profile, ranks));
  if (problem.solver == SolverKind::kRoundRobin) return plain(round_robin_table(profile, ranks));
  if (problem.solver == SolverKind::kEplb) return plain(balanced_copies(problem));
  if (problem.solver == SolverKind::kFlow) return plain(flow_table(evaluation));
  if (profile.empty() || ranks == 1)
    return Candidate{contiguous_table(profile, ranks), "contiguous", 0, ranks == 1};
  ASSIGN_OR_RETURN(Candidate found, problem.objective == Objective::kTime
                                        ? search_time(problem, evaluation, clock)
                                        : search(evaluation, clock));
  for (Candidate& baseline : baselines(evaluation)) {
    if (baseline.objective < found.objective) found = std::move(baseline);
  }
  return found;
}

}  // namespace

absl::StatusOr<Solution> solve(const Problem& problem) {
  const SearchClock whole(problem.time_limit_s, problem.cancelled, problem.now);
  ASSIGN_OR_RETURN(const Evaluation evaluation, Evaluation::create(problem));
  const PlacementTable before =
      problem.start != nullptr ? *problem.start
                               : contiguous_table(*problem.profile, evaluation.instance().ranks());
  Solution solution;
  const double began = whole.elapsed();
  solution.objective_before = evaluation.objective(before);
  solution.start_obeys_cap = evaluation.allowed(before);
  const double one_look = whole.elapsed() - began;
  // What comes after the search: looks at baselines and result, and the bound.
  const double reserve =
      std::min(0.3 * problem.time_limit_s, 9 * one_look + 0.05 * problem.time_limit_s);
  const SearchClock clock = whole.limited(whole.remaining() - reserve);
  ASSIGN_OR_RETURN(Candidate found, run_solver(evaluation, clock));
  const bool fixed_table = problem.solver == SolverKind::kContiguous ||
                           problem.solver == SolverKind::kRoundRobin ||
                           problem.solver == SolverKind::kEplb ||
                           problem.solver == SolverKind::kFlow;
  if (problem.start != nullptr && !fixed_table)
    found = near_start(evaluation, std::move(found), whole);
  prove(evaluation, whole, found, &solution);
  solution.table = std::move(found.table);
  solution.table.set_ranks_per_node(problem.cluster.ranks_per_node);
  solution.table.set_model_fingerprint(problem.profile->model_fingerprint());
  solution.table.set_profile_id(problem.profile->id());
  solution.solver = found.solver;
  solution.objective_after = found.objective;
  solution.balance = profile_balance(*problem.profile, solution.table);
  solution.balance_cap = evaluation.caps();
  solution.moved_experts = moved_experts(before, solution.table);
  solution.seconds = whole.elapsed();
  return solution;
}

}  // namespace conclave::placement
