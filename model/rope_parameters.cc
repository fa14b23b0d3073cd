#include "model/rope_parameters.h"

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace conclave::model {
namespace {

constexpr double kMaxTheta = 1e15;
constexpr int32_t kMaxPositions = INT32_MAX;

bool is_empty(const nlohmann::json* object) { return object == nullptr || object->empty(); }

// rope_scaling beside rope_parameters replaces it whole, as in transformers 5. A theta that would
// be lost that way is nobody's wish.
absl::Status take_object(JsonFields* config, double default_theta, RopeParameters* out) {
  const nlohmann::json* scaling = config->object("rope_scaling");
  const nlohmann::json* parameters = config->object("rope_parameters");
  RETURN_IF_ERROR(config->status());
  out->name = is_empty(scaling) ? "rope_parameters" : "rope_scaling";
  const nlohmann::json* chosen = is_empty(scaling) ? parameters : scaling;
  out->object = chosen == nullptr ? nlohmann::json::object() : *chosen;
  if (is_empty(scaling) || is_empty(parameters) || *scaling == *parameters) return absl::OkStatus();
  const auto theta = parameters->find("rope_theta");
  const bool lost = theta != parameters->end() && *theta != nlohmann::json(default_theta) &&
                    !scaling->contains("rope_theta") && !config->given("rope_theta");
  if (lost) {
    return absl::InvalidArgumentError(absl::StrCat(
        config->where("rope_scaling"),
        " stands beside \"rope_parameters\" and replaces it whole, so that its rope_theta of ",
        printable_json(*theta),
        " would be lost; move the scaling's keys into \"rope_parameters\""));
  }
  out->notes.push_back(absl::StrCat(config->where("rope_scaling"),
                                    " stands beside \"rope_parameters\" and replaces it whole"));
  return absl::OkStatus();
}

absl::Status refuse_nested(const JsonFields& config, const RopeParameters& rope) {
  for (const auto& item : rope.object.items()) {
    if (!item.value().is_object()) continue;
    return absl::UnimplementedError(absl::StrCat(
        config.where(rope.name.c_str()), " holds an object under ", printable(item.key()),
        ": it differs between layer types, which is not supported"));
  }
  return absl::OkStatus();
}

std::string read_type(JsonFields* fields) {
  for (const char* key : {"rope_type", "type"}) {
    if (!fields->given(key)) continue;
    if (!fields->has(key)) fields->expected(key, "the name of a rope type");
    return fields->text(key, "default");
  }
  return "default";
}

// A null is no default: the classes fail on it later.
double read_theta(JsonFields* config, JsonFields* fields, double default_theta) {
  JsonFields* from = fields->given("rope_theta") ? fields : config;
  if (from->given("rope_theta") && !from->has("rope_theta")) {
    from->expected("rope_theta", "a number");
    return default_theta;
  }
  return from->number("rope_theta", default_theta, 1e-3, kMaxTheta);
}

// The whole head is rotated in these families: with the default type they do not read
// partial_rotary_factor, with others they cannot run.
void check_partial(JsonFields* config, JsonFields* fields, RopeParameters* out) {
  JsonFields* from = fields->given("partial_rotary_factor") ? fields : config;
  const double fraction = from->number("partial_rotary_factor", 1, 0, 1);
  const bool null = fields->given("partial_rotary_factor") && !fields->has("partial_rotary_factor");
  if (fraction == 1 && !null) return;
  if (out->type != "default") {
    from->expected("partial_rotary_factor",
                   absl::StrCat("1: these families rotate whole heads, with rope type ", out->type,
                                " they cannot do otherwise"));
  } else if (!null) {
    out->notes.push_back(
        absl::StrCat(from->where("partial_rotary_factor"), " is ",
                     printable_json(*from->find("partial_rotary_factor")),
                     ", but these families rotate whole heads and do not read it"));
  }
}

int32_t read_original(JsonFields* config, JsonFields* fields, int32_t max_positions) {
  constexpr char kKey[] = "original_max_position_embeddings";
  for (JsonFields* place : {config, fields}) {
    if (place->given(kKey) && !place->has(kKey)) place->expected(kKey, "a number of tokens");
  }
  JsonFields* from = config->given(kKey) ? config : fields;
  return from->integer(kKey, max_positions, 1, kMaxPositions);
}

}  // namespace

absl::StatusOr<RopeParameters> read_rope_parameters(JsonFields* config, std::string_view source,
                                                    double default_theta, int32_t max_positions) {
  RopeParameters out;
  RETURN_IF_ERROR(take_object(config, default_theta, &out));
  RETURN_IF_ERROR(refuse_nested(*config, out));
  JsonFields fields(&out.object, source, absl::StrCat(out.name, "."));
  out.type = read_type(&fields);
  out.theta = read_theta(config, &fields, default_theta);
  check_partial(config, &fields, &out);
  out.original_positions = max_positions;
  if (out.type == "yarn" || out.type == "llama3" || out.type == "longrope") {
    out.original_positions = read_original(config, &fields, max_positions);
  }
  RETURN_IF_ERROR(config->status());
  RETURN_IF_ERROR(fields.status());
  return out;
}

}  // namespace conclave::model
