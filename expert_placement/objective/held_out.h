#ifndef CONCLAVE_EXPERT_PLACEMENT_OBJECTIVE_HELD_OUT_H_
#define CONCLAVE_EXPERT_PLACEMENT_OBJECTIVE_HELD_OUT_H_

// A table judged on sequences that its profile has not seen.

#include "expert_placement/profile/routing_rows.h"
#include "expert_placement/table/placement_table.h"

namespace conclave::placement {

struct HeldOutFigures {
  double crossing_share = 0;  // of leading-expert transitions, over all rows
  double worst_balance = 1;   // max / mean rank load of the worst layer, over all rows
  // Messages per token and layer, both legs, and unit rows moved (one row out, k back), over the
  // rows from position `look_until` of their sequence on; matched homes are chosen from the rows
  // before it (halved until some sequence is long enough).
  double fixed_round_robin = 0;
  double fixed_matched = 0;
  double coherent_matched = 0;
  double fixed_rows = 0;     // with matched homes
  double coherent_rows = 0;  // a moving token's residual included
};
HeldOutFigures judge_held_out(const RoutingRows& test, const PlacementTable& table,
                              int64_t look_until = 256);

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_OBJECTIVE_HELD_OUT_H_
