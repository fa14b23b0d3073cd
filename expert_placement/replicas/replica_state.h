#ifndef CONCLAVE_EXPERT_PLACEMENT_REPLICAS_REPLICA_STATE_H_
#define CONCLAVE_EXPERT_PLACEMENT_REPLICAS_REPLICA_STATE_H_

// Sampled rows under a placement with several copies of an expert. Each row's way through the
// layers is kept, so that a change is judged by walking only the rows it touches, as far as their
// way differs.

#include <cstdint>
#include <span>
#include <vector>

#include "expert_placement/profile/routing_rows.h"
#include "expert_placement/solve.h"
#include "expert_placement/table/placement_table.h"

namespace conclave::placement {

struct ReplicaLimits {
  int32_t slots = 0;  // copies one rank may hold in one layer
  int64_t extra_per_rank =
      0;  // copies beyond one for each expert that a rank may hold in all layers
  std::vector<double> loads;  // [layers, E]; copies share an expert's load evenly
  std::vector<double> cap;    // [layers]
};

class ReplicaState {
 public:
  // objective: kTransitions or kMessages. rows outlive the state.
  ReplicaState(const RoutingRows& rows, Objective objective, Plan plan,
               std::vector<int32_t> home_of_row, ReplicaLimits limits, const PlacementTable& start);

  struct Edit {
    int32_t expert = 0;
    int32_t rank = 0;
    bool add = true;
  };
  // Change of the cost (crossings or messages) if the edits of one layer are made; nothing is
  // changed unless the change is at most `accept` and neither slots, memory nor excess load forbid
  // it.
  struct Trial {
    bool possible = false;
    bool accepted = false;
    int64_t change = 0;
  };
  Trial attempt(int32_t layer, std::span<const Edit> edits, int64_t accept);

  bool holds(int32_t layer, int32_t expert, int32_t rank) const {
    return copy_[place(layer, expert) * ranks_ + static_cast<size_t>(rank)] != 0;
  }
  int32_t copies(int32_t layer, int32_t expert) const { return copies_[place(layer, expert)]; }
  int32_t held(int32_t layer, int32_t rank) const {
    return held_[static_cast<size_t>(layer) * ranks_ + static_cast<size_t>(rank)];
  }
  int64_t extra(int32_t rank) const { return extra_[static_cast<size_t>(rank)]; }
  const ReplicaLimits& limits() const { return limits_; }
  int32_t layers() const { return rows_->layers; }
  int32_t experts() const { return rows_->experts; }
  int32_t ranks() const { return static_cast<int32_t>(ranks_); }
  int64_t cost() const { return cost_; }
  double excess() const;
  PlacementTable table(std::vector<int32_t> moe_layers) const;

 private:
  size_t place(int32_t layer, int32_t expert) const {
    return static_cast<size_t>(layer) * static_cast<size_t>(rows_->experts) +
           static_cast<size_t>(expert);
  }
  size_t step(int32_t row, int32_t layer) const {
    return static_cast<size_t>(row) * static_cast<size_t>(rows_->layers) +
           static_cast<size_t>(layer);
  }
  int32_t serving(int32_t layer, int32_t expert, int32_t from) const {
    return serving_[place(layer, expert) * ranks_ + static_cast<size_t>(from)];
  }
  bool follows() const { return objective_ == Objective::kTransitions || plan_ == Plan::kCoherent; }
  int32_t layer_cost(int32_t row, int32_t layer, int32_t from, int32_t next) const;
  int64_t walk(int32_t row, int32_t layer, bool keep);
  int64_t walk_all(int32_t layer, std::span<const Edit> edits, bool keep);
  void apply(int32_t layer, const Edit& edit);
  bool fits(int32_t layer, std::span<const Edit> edits) const;
  double layer_excess(int32_t layer) const;
  void share_load(int32_t layer, int32_t expert, double sign);
  void refresh_serving(int32_t layer, int32_t expert);

  const RoutingRows* rows_;
  Objective objective_;
  Plan plan_;
  size_t ranks_;
  ReplicaLimits limits_;
  std::vector<int32_t> home_;
  std::vector<uint8_t> copy_;     // [layers, E, ranks]
  std::vector<int32_t> copies_;   // [layers, E]
  std::vector<int32_t> held_;     // [layers, ranks]
  std::vector<int64_t> extra_;    // [ranks]: copies beyond the rank's share of one copy each
  std::vector<double> load_;      // [layers, ranks]
  std::vector<int16_t> serving_;  // [layers, E, ranks]
  std::vector<std::vector<int32_t>>
      rows_of_;                   // [layers * E]: rows whose cost the expert can change
  std::vector<int16_t> at_;       // [rows, layers]: where the leading expert was served
  std::vector<uint8_t> cost_of_;  // [rows, layers]
  std::vector<int32_t> ranks_per_node_, node_of_;  // as the start's
  std::vector<int32_t> holders_;  // scratch
  int64_t cost_ = 0;
};

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_REPLICAS_REPLICA_STATE_H_
