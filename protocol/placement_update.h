#ifndef CONCLAVE_PROTOCOL_PLACEMENT_UPDATE_H_
#define CONCLAVE_PROTOCOL_PLACEMENT_UPDATE_H_

// How a running group changes the table of its experts without copying weights between two steps:
//
//   1. A plan carries a PlacementUpdate: every rank loads the experts that it will hold, in the
//   background.
//   2. Each rank answers by a Prepared frame on its control connection.
//   3. Once all have, the next plan names the update's epoch: every rank switches before that step
//   and
//      drops what it holds no more.
//
// A plan whose update has another epoch replaces one that is not in force yet; one without layers
// only takes it back. The epoch of plans and table is the only state, so a group that dies on the
// way restarts with the last table whose epoch a plan has named.

#include <cstdint>
#include <string>
#include <vector>

namespace conclave::protocol {

// New ranks of every expert of one MoE layer.
struct LayerPlacement {
  int32_t moe_layer = 0;
  std::vector<std::vector<int32_t>> holders;  // [experts]: ranks, ascending, at least one
};

struct PlacementUpdate {
  int64_t epoch = 0;
  std::vector<LayerPlacement> layers;  // only those that change
};

// Answer of one rank.
struct Prepared {
  int64_t epoch = 0;
  std::string error;   // empty: the rank can switch
  uint64_t bytes = 0;  // of expert weights loaded
  double seconds = 0;
};

}  // namespace conclave::protocol

#endif  // CONCLAVE_PROTOCOL_PLACEMENT_UPDATE_H_
