#ifndef CONCLAVE_MODEL_FAMILY_DEFAULTS_H_
#define CONCLAVE_MODEL_FAMILY_DEFAULTS_H_

// The supported families and the values of keys that their config.json may leave out.
// Internal to model/.

#include <cstdint>
#include <string_view>

#include "model/model_spec.h"

namespace conclave::model {

// What a missing key means, by family; kv_heads 0: as many as heads.
struct FamilyDefaults {
  std::string_view name;
  Family family;
  QkNormKind qk_norm;
  int32_t vocab, hidden, layers, heads, kv_heads, max_positions;
  int32_t experts, top_k, expert_width, dense_width, shared_width;
  double norm_eps, theta;
  int32_t bos, eos;  // -1: none
};

// By model_type without "_ext"; nullptr: not supported.
const FamilyDefaults* find_family(std::string_view name);

}  // namespace conclave::model

#endif  // CONCLAVE_MODEL_FAMILY_DEFAULTS_H_
