#ifndef CONCLAVE_MODEL_ROPE_PARAMETERS_H_
#define CONCLAVE_MODEL_ROPE_PARAMETERS_H_

// Which of the file's rope settings hold: the object (rope_scaling or rope_parameters) and what the
// keys beside it add. Internal to model/.

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "model/json_fields.h"

namespace conclave::model {

struct RopeParameters {
  nlohmann::json object;  // of rope_scaling, else rope_parameters; empty if the file has neither
  std::string name;       // the key that holds it
  std::string type;
  double theta = 0;
  // Of types that stretch a trained length (yarn, llama3, longrope): that length.
  int32_t original_positions = 0;
  std::vector<std::string> notes;
};

// INVALID_ARGUMENT / UNIMPLEMENTED with one sentence.
absl::StatusOr<RopeParameters> read_rope_parameters(JsonFields* config, std::string_view source,
                                                    double default_theta, int32_t max_positions);

}  // namespace conclave::model

#endif  // CONCLAVE_MODEL_ROPE_PARAMETERS_H_
