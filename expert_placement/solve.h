#ifndef CONCLAVE_EXPERT_PLACEMENT_SOLVE_H_
#define CONCLAVE_EXPERT_PLACEMENT_SOLVE_H_

// One entrance to all placement solvers: a routing profile and a cluster in, a table and a proof of
// its quality out.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "expert_placement/cluster/cluster_spec.h"
#include "expert_placement/profile/routing_profile.h"
#include "expert_placement/table/placement_table.h"

namespace conclave::placement {

enum class Objective : uint8_t {
  kTransitions,  // share of leading-expert transitions that cross ranks
  kMessages,     // (token, remote rank) pairs per token and layer, both legs, of the chosen plan
  kTime,         // predicted seconds per token and layer: links, load, activated experts
};
enum class Plan : uint8_t { kFixed, kCoherent };
enum class SolverKind : uint8_t { kAuto, kSearch, kIlp, kExact, kContiguous, kRoundRobin, kEplb, kFlow };

absl::StatusOr<Objective> parse_objective(std::string_view name);  // transitions | messages | time
absl::StatusOr<Plan> parse_plan(std::string_view name);            // fixed | coherent
absl::StatusOr<SolverKind> parse_solver(
    std::string_view name);  // auto | search | ilp | exact | contiguous | ...
const char* name_of(Objective objective);
const char* name_of(Plan plan);
const char* name_of(SolverKind solver);

// Sizes the time objective and byte counts need.
struct ExpertCost {
  double row_bytes = 0;      // one hidden row on the wire
  double weight_bytes = 0;   // one expert's weights as stored
  double flops = 0;          // one row through one expert
  double batch_tokens = 64;  // tokens of one step, all ranks
};

struct Problem {
  const RoutingProfile* profile = nullptr;  // outlives the call
  ClusterSpec cluster;
  Objective objective = Objective::kTransitions;
  Plan plan = Plan::kFixed;
  ExpertCost cost;
  // Cap on max/mean rank load of every layer, on the profile. Where it cannot be reached the cap of
  // that layer is the best balance found; Solution::balance_cap says which.
  double max_imbalance = 1.15;
  // Extra expert copies: this many slots per rank and layer beyond ceil(E/G) ...
  int32_t replicas = 0;
  // ... and at most this share of L * E copies in all (0.1: ten per cent more expert memory). 0: no
  // such limit.
  double replica_share = 0;
  // Re-planning: the table in force, and how many expert copies may move (-1: any number). Labels
  // of ranks are aligned with start whenever it is given.
  const PlacementTable* start = nullptr;
  int64_t migration_budget = -1;
  SolverKind solver = SolverKind::kAuto;
  double time_limit_s = 60;
  uint64_t seed = 1;
  int32_t threads = 1;  // of the search; more search more in the same time
  // Called now and then; true ends the search with the best found so far.
  std::function<bool()> cancelled;
  // Seconds that time_limit_s is measured in; null: those of the wall. Tests give CPU time.
  std::function<double()> now;
};

struct Solution {
  PlacementTable table;
  std::string solver;           // what produced the table, e.g. "search+ilp"
  double objective_before = 0;  // of start, else of contiguous; unit as in Objective
  double objective_after = 0;
  std::optional<double>
      lower_bound;  // proven for this profile (and no replicas); absent: none known
  std::optional<double> gap() const;  // (after - bound) / after; 0 is optimal
  std::vector<double> balance;        // [layers] max/mean rank load on the profile
  std::vector<double> balance_cap;    // [layers] the cap that held
  bool start_obeys_cap = true;        // of what objective_before is about
  int64_t moved_experts = 0;          // copies that a rank must load, against start (or contiguous)
  double seconds = 0;
};

// INVALID_ARGUMENT with a sentence: no profile, ranks < 1, max_imbalance < 1, start of another
// shape. An empty profile yields contiguous; ranks > experts leaves ranks without experts.
// Deterministic for a seed as long as no limit of time ends the search (iteration budgets come
// first on small problems). Blocks up to time_limit_s; call it off the hot path. Thread-safe (no
// shared state).
absl::StatusOr<Solution> solve(const Problem& problem);

// Renames ranks of table so that the fewest copies move away from `from`; nodes stay together.
PlacementTable align_labels(const PlacementTable& table, const PlacementTable& from,
                            const ClusterSpec& cluster);
// Copies of table that their rank does not hold under `from`.
int64_t moved_experts(const PlacementTable& from, const PlacementTable& table);

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_SOLVE_H_
