#ifndef CONCLAVE_EXPERT_PLACEMENT_PROFILE_SYNTHETIC_ROWS_H_
#define CONCLAVE_EXPERT_PLACEMENT_PROFILE_SYNTHETIC_ROWS_H_

#include <cstdint>

#include "expert_placement/profile/routing_profile.h"

namespace conclave::placement {

// Rows drawn from a profile that carries no sample of real ones: leading experts as a Markov chain
// of the transitions, the others by co-activation with those already drawn. Sequences of 64 rows
// without a topic, so matched homes gain little on them. Deterministic for a seed. Empty for an
// empty profile.
RoutingRows synthesize_rows(const RoutingProfile& profile, int64_t rows, uint64_t seed);

// Rows whose experts are drawn at random, all alike; sequences of 64 rows.
RoutingRows uniform_rows(int32_t layers, int32_t experts, int32_t top_k, int64_t rows,
                         uint64_t seed);

// The profile's sample if it has one, else synthetic rows.
RoutingRows rows_for_search(const RoutingProfile& profile, uint64_t seed);

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_PROFILE_SYNTHETIC_ROWS_H_
