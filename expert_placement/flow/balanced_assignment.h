#ifndef CONCLAVE_EXPERT_PLACEMENT_FLOW_BALANCED_ASSIGNMENT_H_
#define CONCLAVE_EXPERT_PLACEMENT_FLOW_BALANCED_ASSIGNMENT_H_

#include <cstdint>
#include <span>
#include <vector>

namespace conclave::placement {

// Gives each item one bin so that bin b gets at most capacity[b] items and the sum of profit[item,
// bin] is largest (the assignment problem when every capacity is 1). Profits are rounded to 2^-20
// of the largest. Needs sum(capacity) >= items. Returns [items].
std::vector<int32_t> assign_balanced(std::span<const double> profit,
                                     std::span<const int32_t> capacity);

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_FLOW_BALANCED_ASSIGNMENT_H_
