#include "expert_placement/solver/integer_steps.h"

#include <algorithm>

#include "expert_placement/homes/homes.h"
#include "expert_placement/ilp/pattern_programs.h"
#include "expert_placement/ilp/replica_programs.h"

namespace conclave::placement {
namespace {

constexpr double kSecondsPerLayer = 10;

// Copies of the layer that `home` does not have where they are.
int64_t moved_in_layer(const PlacementTable& home, const PlacementTable& table, int32_t layer) {
  int64_t moved = 0;
  for (int32_t expert = 0; expert < table.experts(); ++expert) {
    const auto before = home.holders(layer, expert);
    for (const int32_t rank : table.holders(layer, expert))
      moved += std::find(before.begin(), before.end(), rank) == before.end();
  }
  return moved;
}

}  // namespace

int32_t improve_single_copies(const Evaluation& evaluation, const SearchClock& clock,
                              std::optional<MoveBudget> budget, Assignment* assignment) {
  const ChainInstance& instance = evaluation.instance();
  if (evaluation.problem().objective == Objective::kTransitions) {
    ChainState state(instance, *assignment);
    const int32_t improved = improve_layers(clock, kSecondsPerLayer, &state, budget);
    *assignment = state.assignment();
    return improved;
  }
  const RoutingRows& rows = evaluation.rows();
  const PlacementTable before = evaluation.table_of(*assignment);
  PatternState state(instance, rows, evaluation.problem().plan, matched_homes(rows, rows, before),
                     *assignment);
  const int32_t improved = improve_patterns(clock, kSecondsPerLayer, &state);
  // Homes are matched anew, and seconds are not messages: only the evaluator knows.
  const Assignment found = state.assignment();
  if (improved == 0 ||
      evaluation.objective(evaluation.table_of(found)) >= evaluation.objective(before))
    return 0;
  *assignment = found;
  return improved;
}

int32_t improve_copies(const Evaluation& evaluation, const SearchClock& clock,
                       const PlacementTable* home, int64_t moves, PlacementTable* table) {
  double value = evaluation.objective(*table);
  int32_t improved = 0, without_gain = 0;
  for (int32_t layer = 0; without_gain < table->layers() && !clock.expired();
       layer = (layer + 1) % table->layers()) {
    ++without_gain;
    ReplicaLayer input{evaluation.problem().profile, table, layer};
    input.cap = evaluation.instance().cap[static_cast<size_t>(layer)];
    if (home != nullptr) {
      input.home = home;
      input.moves =
          moves - moved_experts(*home, *table) + moved_in_layer(*home, *table, layer);
    }
    const double seconds = std::min(kSecondsPerLayer, clock.remaining() - 0.6);
    const MipResult result = solve_mip(replica_layer_program(input), seconds);
    if (result.status == MipStatus::kNothing) continue;
    const PlacementTable tried = table->with_layer(layer, read_holders(input, result.values));
    const double tried_value = evaluation.objective(tried);
    if (tried_value >= value * (1 - 1e-9) || !evaluation.allowed(tried)) continue;
    *table = tried;
    value = tried_value;
    ++improved;
    without_gain = 0;
  }
  return improved;
}

}  // namespace conclave::placement
