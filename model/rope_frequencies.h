#ifndef CONCLAVE_MODEL_ROPE_FREQUENCIES_H_
#define CONCLAVE_MODEL_ROPE_FREQUENCIES_H_

// Rotary position embedding as config.json spells it (v4: rope_theta + rope_scaling, v5:
// rope_parameters). Internal to model/.

#include <cstdint>

#include "absl/status/statusor.h"
#include "model/json_fields.h"
#include "model/model_spec.h"

namespace conclave::model {

// What the rest of the configuration says.
struct RopeContext {
  double default_theta = 10000;
  int32_t head_dim = 0;
  int32_t max_positions = 0;
};

// Types default, linear, yarn (Peng et al., arXiv 2309.00071) and llama3; UNIMPLEMENTED for others.
absl::StatusOr<RopeSpec> read_rope(JsonFields* config, std::string_view source,
                                   const RopeContext& context);

}  // namespace conclave::model

#endif  // CONCLAVE_MODEL_ROPE_FREQUENCIES_H_
