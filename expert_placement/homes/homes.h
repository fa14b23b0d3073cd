#ifndef CONCLAVE_EXPERT_PLACEMENT_HOMES_HOMES_H_
#define CONCLAVE_EXPERT_PLACEMENT_HOMES_HOMES_H_

// Which rank is a sequence's home: the rank that holds its K/V and runs its attention in the fixed
// plan.

#include <cstdint>
#include <span>
#include <vector>

#include "expert_placement/profile/routing_rows.h"
#include "expert_placement/table/placement_table.h"

namespace conclave::placement {

// Rows before and from the given position of their sequence.
struct RowsByPosition {
  RoutingRows before, after;
};
RowsByPosition split_at_position(const RoutingRows& rows, int64_t position);

// The i-th distinct sequence of rows gets rank i mod ranks. [rows]
std::vector<int32_t> round_robin_homes(const RoutingRows& rows, int32_t ranks);
// Every sequence goes where most of its rows' layers find one of their experts, with at most
// ceil(sequences / ranks) sequences on a rank (balanced assignment). `seen` holds the rows that may
// be looked at (a prefill), `rows` those to give homes to; sequences that `seen` lacks fill up.
// [rows]
std::vector<int32_t> matched_homes(const RoutingRows& seen, const RoutingRows& rows,
                                   const PlacementTable& table);

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_HOMES_HOMES_H_
