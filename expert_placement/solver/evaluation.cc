#include "expert_placement/solver/evaluation.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "expert_placement/homes/homes.h"
#include "expert_placement/objective/single_copy_table.h"
#include "expert_placement/objective/step_time.h"
#include "expert_placement/objective/traffic.h"
#include "expert_placement/profile/synthetic_rows.h"

namespace conclave::placement {
namespace {

constexpr int64_t kMostRowCells = int64_t{1}
                                  << 27;  // rows x layers x ranks that a search keeps in memory

absl::Status check(const Problem& problem) {
  const auto bad = [](const std::string& what) { return absl::InvalidArgumentError(what); };
  if (problem.profile == nullptr) return bad("placement needs a routing profile");
  if (problem.cluster.ranks() < 1) return bad("placement needs at least one rank");
  if (!(problem.max_imbalance >= 1))
    return bad(absl::StrCat("the balance cap is ", problem.max_imbalance,
                            "; it is max/mean and must be at least 1"));
  if (!(problem.time_limit_s > 0)) return bad("the time limit must be more than 0 seconds");
  if (problem.replicas < 0 || !(problem.replica_share >= 0))
    return bad("the number of replicas must not be negative");
  const PlacementTable* start = problem.start;
  if (start == nullptr) return absl::OkStatus();
  const auto layers = start->moe_layers();
  const ProfileShape& shape = problem.profile->shape();
  if (!std::equal(layers.begin(), layers.end(), shape.moe_layers.begin(), shape.moe_layers.end()) ||
      start->experts() != shape.experts || start->ranks() != problem.cluster.ranks()) {
    return bad(absl::StrCat("the table to start from is for ", layers.size(), " MoE layers of ",
                            start->experts(), " experts on ", start->ranks(),
                            " ranks; the profile and cluster have ", shape.moe_layers.size(),
                            " of ", shape.experts, " on ", problem.cluster.ranks()));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Evaluation> Evaluation::create(const Problem& problem) {
  RETURN_IF_ERROR(check(problem));
  Evaluation evaluation(problem);
  RETURN_IF_ERROR(evaluation.set_limits());
  const RoutingProfile& profile = *problem.profile;
  ChainInstance& instance = evaluation.instance_;
  const int32_t ranks = problem.cluster.ranks();
  instance.layers = profile.layers();
  instance.experts = profile.experts();
  instance.slots.assign(static_cast<size_t>(ranks), evaluation.slots_);
  for (int32_t rank = 0; rank < ranks; ++rank)
    instance.node_of.push_back(problem.cluster.node_of(rank));
  if (problem.cluster.nodes() > 1) {
    const double ratio =
        problem.cluster.inter_node.bytes_per_s / problem.cluster.intra_node.bytes_per_s;
    instance.same_node_value = std::clamp(1 - ratio, 0.0, 0.95);
  }
  for (int32_t layer = 0; layer < profile.layers(); ++layer) {
    const auto loads = profile.loads(layer);
    instance.loads.insert(instance.loads.end(), loads.begin(), loads.end());
    evaluation.balanced_.push_back(balance_layer({loads.begin(), loads.end()}, instance.slots));
    const double mean = std::accumulate(loads.begin(), loads.end(), 0.0) / ranks;
    instance.cap.push_back(
        std::max(problem.max_imbalance * mean, evaluation.balanced_.back().most));
    if (layer + 1 == profile.layers()) continue;
    const auto weights = profile.transitions(layer);
    instance.weights.insert(instance.weights.end(), weights.begin(), weights.end());
  }
  if (problem.objective != Objective::kTransitions || evaluation.wants_replicas()) {
    evaluation.rows_ = thin_rows(rows_for_search(profile, problem.seed),
                                 std::max<int64_t>(1024, kMostRowCells / ranks / profile.layers()));
  }
  return evaluation;
}

absl::Status Evaluation::set_limits() {
  const RoutingProfile& profile = *problem_->profile;
  const int64_t experts = profile.experts(), layers = profile.layers(),
                ranks = problem_->cluster.ranks();
  slots_ = static_cast<int32_t>((experts + ranks - 1) / ranks);
  extra_slots_ = problem_->replicas;
  extra_per_rank_ = extra_slots_ * layers;
  if (problem_->replica_share > 0) {
    const double copies = problem_->replica_share * static_cast<double>(layers * experts) /
                          static_cast<double>(ranks);
    extra_per_rank_ = static_cast<int64_t>(copies + 1e-9);
    if (extra_slots_ == 0)
      extra_slots_ = static_cast<int32_t>(std::ceil(problem_->replica_share * slots_ + 1));
  }
  const double memory = static_cast<double>(problem_->cluster.memory_bytes);
  if (memory <= 0 || problem_->cost.weight_bytes <= 0) return absl::OkStatus();
  const auto fits = static_cast<int64_t>(memory / problem_->cost.weight_bytes);
  if (fits < slots_ * layers) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a rank's memory holds ", fits, " experts, but ", layers, " layers of ", slots_, " need ",
        slots_ * layers,
        "; use more ranks or give them more memory (\"memory_bytes\" of the cluster description)"));
  }
  extra_per_rank_ = std::min(extra_per_rank_, fits - slots_ * layers);
  return absl::OkStatus();
}

double Evaluation::objective(const PlacementTable& given) const {
  const PlacementTable table = on_nodes(given);
  if (problem_->objective == Objective::kTransitions) {
    const CrossingShare share = crossing_share(*problem_->profile, table, instance_.node_of);
    return share.nodes + (share.ranks - share.nodes) * (1 - instance_.same_node_value);
  }
  if (rows_.rows() == 0) return 0;
  const Traffic traffic =
      count_traffic(rows_, table, problem_->plan, matched_homes(rows_, rows_, table));
  if (problem_->objective == Objective::kMessages) return traffic.messages_per_token_layer();
  return layer_time(traffic, *problem_->profile, table, problem_->cluster, problem_->cost).total();
}

PlacementTable Evaluation::on_nodes(PlacementTable table) const {
  table.set_ranks_per_node(problem_->cluster.ranks_per_node);
  return table;
}

bool Evaluation::obeys_cap(const PlacementTable& table) const {
  const std::vector<double> balance = profile_balance(*problem_->profile, table), cap = caps();
  for (size_t layer = 0; layer < cap.size(); ++layer) {
    if (balance[layer] > cap[layer] * (1 + 1e-6)) return false;
  }
  return true;
}

bool Evaluation::allowed(const PlacementTable& table) const {
  if (table.slots_per_rank() > slots_ + (wants_replicas() ? extra_slots_ : 0)) return false;
  std::vector<int64_t> held(static_cast<size_t>(table.ranks()), 0);
  for (int32_t layer = 0; layer < table.layers(); ++layer) {
    for (int32_t expert = 0; expert < table.experts(); ++expert) {
      for (int32_t rank : table.holders(layer, expert)) ++held[static_cast<size_t>(rank)];
    }
  }
  const int64_t most = static_cast<int64_t>(slots_) * table.layers() + extra_per_rank_;
  return *std::max_element(held.begin(), held.end()) <= most && obeys_cap(table);
}

Assignment Evaluation::balanced_start() const {
  Assignment start{instance_.experts, {}};
  for (const BalancedLayer& layer : balanced_)
    start.rank_of.insert(start.rank_of.end(), layer.rank_of.begin(), layer.rank_of.end());
  return start;
}

PlacementTable Evaluation::table_of(const Assignment& assignment) const {
  return single_copy_table(instance_, assignment, problem_->profile->shape().moe_layers);
}

ReplicaLimits Evaluation::replica_limits() const {
  return {slots_ + extra_slots_, extra_per_rank_, instance_.loads, instance_.cap};
}

std::vector<double> Evaluation::caps() const {
  std::vector<double> caps;
  for (int32_t layer = 0; layer < instance_.layers; ++layer) {
    const auto loads = problem_->profile->loads(layer);
    const double total = std::accumulate(loads.begin(), loads.end(), 0.0);
    caps.push_back(total > 0 ? instance_.cap[static_cast<size_t>(layer)] * instance_.ranks() / total
                             : problem_->max_imbalance);
  }
  return caps;
}

double Evaluation::crossing_bound(double kept) const {
  const double total = std::accumulate(instance_.weights.begin(), instance_.weights.end(), 0.0);
  return total > 0 ? std::max(0.0, 1 - kept / total) : 0;
}

}  // namespace conclave::placement
