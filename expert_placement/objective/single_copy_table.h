#ifndef CONCLAVE_EXPERT_PLACEMENT_OBJECTIVE_SINGLE_COPY_TABLE_H_
#define CONCLAVE_EXPERT_PLACEMENT_OBJECTIVE_SINGLE_COPY_TABLE_H_

#include <vector>

#include "expert_placement/sweeps/chain_instance.h"
#include "expert_placement/table/placement_table.h"

namespace conclave::placement {

// The assignment as a table of layers 0, 1, ... (or of moe_layers when given).
PlacementTable single_copy_table(const ChainInstance& instance, const Assignment& assignment,
                                 std::vector<int32_t> moe_layers = {});

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_OBJECTIVE_SINGLE_COPY_TABLE_H_
