#ifndef CONCLAVE_EXPERT_PLACEMENT_ILP_REPLICA_PROGRAMS_H_
#define CONCLAVE_EXPERT_PLACEMENT_ILP_REPLICA_PROGRAMS_H_

// One layer of a placement with several copies of an expert as an integer program: which rank holds
// a copy, and which share of an expert's tokens each copy serves.

#include <cstdint>
#include <vector>

#include "expert_placement/ilp/mip.h"
#include "expert_placement/profile/routing_profile.h"
#include "expert_placement/table/placement_table.h"

namespace conclave::placement {

struct ReplicaLayer {
  const RoutingProfile* profile = nullptr;
  const PlacementTable* table = nullptr;  // of the whole placement; its other layers stay
  int32_t layer = 0;
  double cap = 0;  // most load of one rank
  // At most `moves` copies of the layer may arrive where `home` has none; -1: any number.
  const PlacementTable* home = nullptr;
  int64_t moves = -1;
};
// x(e, g) binary: a copy of e on g; r(e, g): share of e's tokens served there, at least what arrives
// on g by itself (the nearest copy serves). Gains: transitions that stay on a rank, into the layer
// and out of it. Each rank holds at most as many copies of the layer as now, so memory stays. Column
// order: x by [e][g], then r.
MipModel replica_layer_program(const ReplicaLayer& input);
// [E] -> ranks of a solution, ascending.
std::vector<std::vector<int32_t>> read_holders(const ReplicaLayer& input,
                                               const std::vector<double>& values);

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_ILP_REPLICA_PROGRAMS_H_
