// generation_config.json, and both configuration files of a folder together.

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "model/generation_keys.h"
#include "model/json_fields.h"
#include "model/model_folder.h"
#include "model/model_spec.h"
#include "model/token_ids.h"

namespace conclave::model {
namespace {

constexpr size_t kMaxConfigBytes = 16u << 20;
constexpr int kConfigDepth = 64;
constexpr int32_t kMaxInt = INT32_MAX;

std::optional<float> optional_number(JsonFields* fields, const char* key, double highest) {
  if (!fields->has(key)) return std::nullopt;
  return static_cast<float>(fields->number(key, 0, 0, highest));
}

// Generation ends at the ids of both files; a family's default stands in where neither has one.
void add_generation_tokens(ModelDescription* out) {
  GenerationDefaults& generation = out->generation;
  ModelSpec& spec = out->spec;
  std::vector<int32_t> unused;
  take_outside(&generation.eos_ids, spec.vocab, &spec.eos_outside);
  take_outside(&generation.bos_ids, spec.vocab, &unused);
  if (!generation.eos_ids.empty() && spec.eos_by_family) spec.eos_ids.clear();
  add_missing(generation.eos_ids, &spec.eos_ids);
  if (!generation.bos_ids.empty()) spec.bos_ids = {generation.bos_ids.front()};
}

}  // namespace

absl::StatusOr<GenerationDefaults> parse_generation_config(std::string_view json,
                                                           std::string_view source) {
  nlohmann::json root;
  RETURN_IF_ERROR(parse_json_object(json, source, kConfigDepth, &root));
  JsonFields fields(&root, source);
  GenerationDefaults out;
  check_generation_keys(root, source, &out);
  if (fields.has("do_sample")) out.do_sample = fields.boolean("do_sample", false);
  out.temperature = optional_number(&fields, "temperature", 1e6);
  out.top_p = optional_number(&fields, "top_p", 1);
  out.min_p = optional_number(&fields, "min_p", 1);
  out.repetition_penalty = optional_number(&fields, "repetition_penalty", 1e6);
  // -1 is how some files say "all".
  if (fields.has("top_k")) out.top_k = std::max(0, fields.integer("top_k", 0, -1, kMaxInt));
  if (fields.has("max_new_tokens")) {
    out.max_new_tokens = fields.integer("max_new_tokens", 1, 1, kMaxInt);
  }
  if (out.repetition_penalty && *out.repetition_penalty <= 0) {
    fields.expected("repetition_penalty", "a number above 0");
  }
  out.eos_ids = fields.token_ids("eos_token_id", {});
  out.bos_ids = fields.token_ids("bos_token_id", {});
  RETURN_IF_ERROR(fields.status());
  return out;
}

absl::StatusOr<ModelDescription> read_model_description(const std::string& folder) {
  const std::string config_path = folder + "/config.json";
  const absl::StatusOr<std::string> config = read_file(config_path, kMaxConfigBytes);
  if (absl::IsNotFound(config.status())) return no_model_config(folder);
  RETURN_IF_ERROR(config.status());
  ModelDescription out;
  ASSIGN_OR_RETURN(out.spec, parse_config(*config, config_path));
  const std::string generation_path = folder + "/generation_config.json";
  const absl::StatusOr<std::string> generation = read_file(generation_path, kMaxConfigBytes);
  if (absl::IsNotFound(generation.status())) return out;
  RETURN_IF_ERROR(generation.status());
  ASSIGN_OR_RETURN(out.generation, parse_generation_config(*generation, generation_path));
  for (const std::string& note : out.generation.notes) out.spec.notes.push_back(note);
  add_generation_tokens(&out);
  return out;
}

}  // namespace conclave::model
