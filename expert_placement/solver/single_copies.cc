#include "expert_placement/solver/single_copies.h"

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "expert_placement/exact/exact_chain.h"
#include "expert_placement/homes/homes.h"
#include "expert_placement/ilp/chain_programs.h"
#include "expert_placement/migration/budgeted_repair.h"
#include "expert_placement/patterns/pattern_search.h"
#include "expert_placement/solver/integer_steps.h"
#include "expert_placement/sweeps/chain_search.h"
#include "expert_placement/sweeps/chain_state.h"

namespace conclave::placement {
namespace {

constexpr int64_t kMostStates = 13000;      // of one layer, for dynamic programming
constexpr double kMostWholeProgram = 4000;  // q variables for which CBC has been seen to finish

std::optional<Assignment> solve_exactly(const ChainInstance& instance, const SearchClock& clock) {
  if (auto found = solve_one_expert_per_rank(instance)) return found;
  return solve_by_states(instance, kMostStates, clock);
}

SingleCopies search(const Evaluation& evaluation, const SearchClock& clock) {
  const Problem& problem = evaluation.problem();
  const ChainInstance& instance = evaluation.instance();
  const bool transitions = problem.objective == Objective::kTransitions;
  const Assignment start = evaluation.balanced_start();
  const SearchClock chain_clock = clock.part(transitions ? 1 : 0.15);
  ChainSearchOptions options;
  options.threads = std::max(1, problem.threads);
  SingleCopies found;
  found.solver = "search";
  found.assignment = problem.cluster.nodes() > 1
                         ? search_two_stages(instance, start, chain_clock, problem.seed)
                         : search_chain(instance, start, chain_clock, problem.seed, options);
  if (!transitions) {
    PatternSearchOptions patterns;
    patterns.plan = problem.plan;
    patterns.seed = problem.seed;
    found.assignment =
        search_patterns(instance, evaluation.rows(), found.assignment, clock, patterns);
  }
  return found;
}

// CBC's answer to the whole program, from what a search found; absent if it has none in time.
std::optional<SingleCopies> whole_program(const ChainInstance& instance, const Assignment& start,
                                          double seconds) {
  MipModel model = whole_chain_program(instance);
  model.start = point_of(instance, start);
  const MipResult result = solve_mip(model, seconds);
  if (result.status == MipStatus::kNothing) return std::nullopt;
  return SingleCopies{read_assignment(instance, result.values), "ilp",
                      result.status == MipStatus::kOptimal};
}

// Search, then CBC: on the whole program where that is small, else layer by layer.
SingleCopies integer_program(const Evaluation& evaluation, const SearchClock& clock) {
  const ChainInstance& instance = evaluation.instance();
  const double kept_variables = static_cast<double>(instance.layers - 1) * instance.experts *
                                instance.experts * instance.ranks();
  const bool transitions = evaluation.problem().objective == Objective::kTransitions;
  const bool small = transitions && kept_variables <= kMostWholeProgram &&
                     instance.same_node_value == 0;
  SingleCopies found = search(evaluation, clock.part(small ? 0.25 : 0.5));
  if (small) {
    const auto whole = whole_program(instance, found.assignment, 0.8 * clock.remaining() - 0.5);
    const bool better = whole && kept_weight(instance, whole->assignment) >=
                                     kept_weight(instance, found.assignment);
    if (whole && (whole->optimal || better)) found = *whole;
    if (found.optimal) return found;
  }
  const int32_t improved =
      improve_single_copies(evaluation, clock, std::nullopt, &found.assignment);
  if (found.solver == "search")
    found.solver = improved > 0 ? "search+ilp" : "search (ilp found nothing better)";
  return found;
}

}  // namespace

absl::StatusOr<SingleCopies> solve_single_copies(const Evaluation& evaluation,
                                                 const SearchClock& clock) {
  const Problem& problem = evaluation.problem();
  const ChainInstance& instance = evaluation.instance();
  const bool transitions = problem.objective == Objective::kTransitions;
  if (problem.solver == SolverKind::kExact ||
      (problem.solver == SolverKind::kAuto && transitions)) {
    const double share = problem.solver == SolverKind::kExact ? 1 : 0.5;
    if (transitions) {
      if (auto exact = solve_exactly(instance, clock.part(share)))
        return SingleCopies{*std::move(exact), "exact", true};
    }
    if (problem.solver == SolverKind::kExact) {
      return absl::UnimplementedError(
          absl::StrCat("no exact solver for ", instance.layers, " layers of ", instance.experts,
                       " experts on ", instance.ranks(),
                       " ranks within the time limit; exact answers exist for --objective "
                       "transitions when a rank holds one expert of a "
                       "layer or a layer has few placements (8 experts); use --solver auto"));
    }
  }
  if (problem.solver == SolverKind::kIlp && !mip_available()) {
    return absl::FailedPreconditionError(
        "the ilp solver needs the program libexec/conclave/conclave-cbc, which this build lacks; "
        "build with "
        "coinor-libcbc-dev installed or use --solver auto");
  }
  if (problem.solver == SolverKind::kIlp) return integer_program(evaluation, clock);
  return search(evaluation, clock);
}

Assignment repair_single_copies(const Evaluation& evaluation, const Assignment& from,
                                int64_t budget, const SearchClock& clock) {
  const Problem& problem = evaluation.problem();
  const ChainInstance& instance = evaluation.instance();
  if (problem.objective == Objective::kTransitions) {
    ChainState state(instance, from);
    repair_within_budget(
        from, budget, clock,
        [&](int32_t l, int32_t a, int32_t b) { return state.swap_gain(l, a, b); }, &state);
    return state.assignment();
  }
  const RoutingRows& rows = evaluation.rows();
  PatternState state(instance, rows, problem.plan,
                     matched_homes(rows, rows, evaluation.table_of(from)), from);
  const auto gain = [&](int32_t l, int32_t a, int32_t b) {
    if (state.quick_swap_cost(l, a, b) >= 0) return 0.0;
    return -static_cast<double>(state.swap_cost(l, a, b));
  };
  repair_within_budget(from, budget, clock, gain, &state);
  return state.assignment();
}

}  // namespace conclave::placement
