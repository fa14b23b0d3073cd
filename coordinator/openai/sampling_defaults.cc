#include "coordinator/openai/sampling_defaults.h"

#include <algorithm>
#include <random>

#include "coordinator/http/json_text.h"

namespace conclave::coordinator {

SamplingDefaults defaults_of_model(const model::GenerationDefaults& model) {
  SamplingDefaults defaults;
  defaults.temperature = model.temperature.value_or(1.0f);
  defaults.top_p = model.top_p.value_or(1.0f);
  defaults.min_p = model.min_p.value_or(0.0f);
  defaults.repetition_penalty = model.repetition_penalty.value_or(1.0f);
  defaults.top_k = std::max(model.top_k.value_or(0), 0);
  defaults.max_new_tokens = model.max_new_tokens;
  return defaults;
}

std::string describe(const SamplingDefaults& defaults) {
  std::string out;
  const auto add = [&out](const char* name, double value) {
    out.append(out.empty() ? "" : " ").append(name).append("=");
    append_json_logprob(
        &out, static_cast<float>(value));  // shortest text of the float, as the file spells it
  };
  add("temperature", defaults.temperature);
  add("top_p", defaults.top_p);
  add("top_k", defaults.top_k);
  add("min_p", defaults.min_p);
  add("repetition_penalty", defaults.repetition_penalty);
  if (defaults.max_new_tokens) out.append(" max_tokens=").append(std::to_string(*defaults.max_new_tokens));
  return out;
}

protocol::Sampling resolve_sampling(const SamplingFields& fields, const SamplingDefaults& defaults,
                                    uint64_t seed) {
  protocol::Sampling sampling;
  sampling.temperature = static_cast<float>(fields.temperature.value_or(defaults.temperature));
  sampling.top_p = static_cast<float>(fields.top_p.value_or(defaults.top_p));
  sampling.min_p = static_cast<float>(fields.min_p.value_or(defaults.min_p));
  sampling.repetition_penalty =
      static_cast<float>(fields.repetition_penalty.value_or(defaults.repetition_penalty));
  sampling.top_k = fields.top_k.value_or(defaults.top_k);
  sampling.presence_penalty = static_cast<float>(fields.presence_penalty);
  sampling.frequency_penalty = static_cast<float>(fields.frequency_penalty);
  sampling.bias = fields.bias;
  sampling.seed = fields.seed.value_or(seed);
  return sampling;
}

uint64_t draw_seed() {
  std::random_device device;
  return (static_cast<uint64_t>(device()) << 32) | device();
}

}  // namespace conclave::coordinator
