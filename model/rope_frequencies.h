#ifndef CONCLAVE_MODEL_ROPE_FREQUENCIES_H_
#define CONCLAVE_MODEL_ROPE_FREQUENCIES_H_

// Rotary position embedding as config.json spells it (v4: rope_theta + rope_scaling, v5:
// rope_parameters), read as transformers 5 reads it, and the window that it allows. Internal to
// model/.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/json_fields.h"
#include "model/model_spec.h"

namespace conclave::model {

// What the rest of the configuration says.
struct RopeContext {
  double default_theta = 10000;
  int32_t head_dim = 0;
  int32_t max_positions = 0;  // max_position_embeddings
};

struct RopeReading {
  RopeSpec spec;
  int32_t window = 0;         // tokens
  std::string window_source;  // how it was found, for people
  std::vector<std::string> notes;
};

// Types default, linear, yarn (Peng et al., arXiv 2309.00071), llama3; dynamic and longrope as far
// as their frequencies do not depend on the sequence's length: a token's key must not change when
// the sequence grows (law 1). UNIMPLEMENTED for others, INVALID_ARGUMENT for what the class
// refuses as well.
absl::StatusOr<RopeReading> read_rope(JsonFields* config, std::string_view source,
                                      const RopeContext& context);

}  // namespace conclave::model

#endif  // CONCLAVE_MODEL_ROPE_FREQUENCIES_H_
