#ifndef CONCLAVE_COORDINATOR_OPENAI_SAMPLING_DEFAULTS_H_
#define CONCLAVE_COORDINATOR_OPENAI_SAMPLING_DEFAULTS_H_

#include <cstdint>
#include <optional>
#include <string>

#include "coordinator/openai/requests.h"
#include "model/model_spec.h"
#include "protocol/step_plan.h"

namespace conclave::coordinator {

// What a field that a request leaves out means.
struct SamplingDefaults {
  double temperature = 1;
  double top_p = 1;
  double min_p = 0;
  double repetition_penalty = 1;
  int32_t top_k = 0;
  std::optional<int32_t> max_new_tokens;  // of a request that names no limit
};

// The model's generation_config.json over the API's own defaults.
SamplingDefaults defaults_of_model(const model::GenerationDefaults& model);
// "temperature=0.7 top_p=0.9 …", for the log.
std::string describe(const SamplingDefaults& defaults);
// seed: used if the request names none. top_logprobs and choice are left to the caller.
protocol::Sampling resolve_sampling(const SamplingFields& fields, const SamplingDefaults& defaults,
                                    uint64_t seed);
uint64_t draw_seed();

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_OPENAI_SAMPLING_DEFAULTS_H_
