#ifndef CONCLAVE_EXPERT_PLACEMENT_ILP_PATTERN_PROGRAMS_H_
#define CONCLAVE_EXPERT_PLACEMENT_ILP_PATTERN_PROGRAMS_H_

// One layer's messages as integer programs. What experts of one row cost together is no linear
// function, so the program counts each move as if it were the only one, lets few experts move, and
// what it finds is judged by the state before it is kept.

#include <cstdint>

#include "expert_placement/patterns/pattern_state.h"
#include "expert_placement/sweeps/search_clock.h"

namespace conclave::placement {

// Layer after layer through CBC until none sends less or the clock ends. Returns the number of
// improvements. Loads stay within the caps, or as far above them as they were.
int32_t improve_patterns(const SearchClock& clock, double seconds_per_layer, PatternState* state);

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_ILP_PATTERN_PROGRAMS_H_
