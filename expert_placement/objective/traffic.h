#ifndef CONCLAVE_EXPERT_PLACEMENT_OBJECTIVE_TRAFFIC_H_
#define CONCLAVE_EXPERT_PLACEMENT_OBJECTIVE_TRAFFIC_H_

// The one evaluator: what travels when these rows run under this table. Solvers, simulator, report
// and the tests that compare with counters of a real run all use it.
//
// Fixed plan: a row at its home is sent once to each other rank that serves one of its experts, and
// the unsummed rows of those experts come back home. Coherent plan: the row sits where its leading
// expert of the layer before was served (in the first layer: at its home), is sent to each other
// rank that serves one of its experts, and the unsummed rows go straight to the rank that serves
// this layer's leading expert, where the token stays. A message is one (token, rank) pair with rank
// different from the sender; both legs count.

#include <cstdint>
#include <span>
#include <vector>

#include "expert_placement/profile/routing_rows.h"
#include "expert_placement/solve.h"
#include "expert_placement/table/placement_table.h"

namespace conclave::placement {

struct Traffic {
  int64_t rows = 0;
  int32_t layers = 0;
  int32_t ranks = 0;
  int64_t transitions = 0;  // rows * (layers - 1)
  int64_t crossings =
      0;  // of them: the next leading expert is not on the rank the token's leader was on
  int64_t dispatched = 0;                   // messages to experts = rows on the wire
  int64_t returned = 0;                     // messages back
  int64_t returned_rows = 0;                // unsummed rows in them: one for each (token, expert)
  int64_t moves = 0;                        // coherent: tokens that changed rank with a layer
  std::vector<int64_t> load;                // [layers, ranks]: (token, expert) pairs served
  std::vector<int64_t> dispatched_between;  // [ranks, ranks] rows from -> to
  std::vector<int64_t> returned_rows_between;  // [ranks, ranks]

  double messages_per_token_layer() const;
  double crossing_share() const;
  std::vector<double> balance() const;  // [layers] max / mean load
  // Bytes of both legs if a row takes row_bytes; a moving token's residual adds one row to its
  // dispatch.
  double bytes(double row_bytes) const;
};

// home_of_row: [rows], ranks. The table's layers and experts must be those of rows.
Traffic count_traffic(const RoutingRows& rows, const PlacementTable& table, Plan plan,
                      std::span<const int32_t> home_of_row);

// Share of leading-expert transitions in the profile that cross ranks, and nodes (node_of: [ranks];
// empty: one node). Exact without replicas; with them the nearest copy serves and the token's way
// is taken as a Markov chain from layer to layer.
struct CrossingShare {
  double ranks = 0;
  double nodes = 0;
};
CrossingShare crossing_share(const RoutingProfile& profile, const PlacementTable& table,
                             std::span<const int32_t> node_of = {});
// The same walk up to a layer: [E, ranks], the share of the tokens led by an expert of that layer that
// are on the rank.
std::vector<double> leader_positions(const RoutingProfile& profile, const PlacementTable& table,
                                     int32_t layer);
// [layers] max / mean rank load on the profile; a replicated expert's load is shared evenly by its
// holders.
std::vector<double> profile_balance(const RoutingProfile& profile, const PlacementTable& table);

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_OBJECTIVE_TRAFFIC_H_
