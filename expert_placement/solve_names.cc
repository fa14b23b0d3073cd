// Names of objectives, plans and solvers, as flags and reports spell them.
#include <array>

#include "absl/strings/str_cat.h"
#include "expert_placement/solve.h"

namespace conclave::placement {
namespace {

constexpr std::array<const char*, 3> kObjectives = {"transitions", "messages", "time"};
constexpr std::array<const char*, 2> kPlans = {"fixed", "coherent"};
constexpr std::array<const char*, 8> kSolvers = {
    "auto", "search", "ilp", "exact", "contiguous", "round_robin", "eplb", "flow"};

template <typename Enum, size_t kCount>
absl::StatusOr<Enum> parse(const std::array<const char*, kCount>& names, std::string_view what,
                           std::string_view name) {
  std::string known;
  for (size_t i = 0; i < kCount; ++i) {
    if (name == names[i]) return static_cast<Enum>(i);
    absl::StrAppend(&known, i == 0 ? "" : ", ", names[i]);
  }
  return absl::InvalidArgumentError(absl::StrCat("there is no ", std::string(what), " \"",
                                                 std::string(name), "\"; expected one of ", known));
}

}  // namespace

absl::StatusOr<Objective> parse_objective(std::string_view name) {
  return parse<Objective>(kObjectives, "objective", name);
}
absl::StatusOr<Plan> parse_plan(std::string_view name) { return parse<Plan>(kPlans, "plan", name); }
absl::StatusOr<SolverKind> parse_solver(std::string_view name) {
  return parse<SolverKind>(kSolvers, "solver", name);
}
const char* name_of(Objective objective) { return kObjectives[static_cast<size_t>(objective)]; }
const char* name_of(Plan plan) { return kPlans[static_cast<size_t>(plan)]; }
const char* name_of(SolverKind solver) { return kSolvers[static_cast<size_t>(solver)]; }

std::optional<double> Solution::gap() const {
  if (!lower_bound) return std::nullopt;
  if (objective_after <= 0) return 0.0;
  return (objective_after - *lower_bound) / objective_after;
}

}  // namespace conclave::placement
