#include "model/rope_frequencies.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace conclave::model {
namespace {

constexpr double kMaxTheta = 1e15;
constexpr double kMaxFactor = 1e6;
constexpr int32_t kMaxPositions = INT32_MAX;

// The scaling object's fields beside what they fall back on.
struct Scaling {
  JsonFields* fields;
  const RopeContext* context;
  double theta;
  int32_t original_positions;
};

std::vector<float> plain_frequencies(double theta, int32_t dim) {
  std::vector<float> inverse(static_cast<size_t>(dim / 2));
  for (size_t i = 0; i < inverse.size(); ++i) {
    // Rounded to float32 at the same points as the models' training code.
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(dim);
    inverse[i] = 1.0f / static_cast<float>(std::pow(static_cast<float>(theta), double{exponent}));
  }
  return inverse;
}

void scale_linear(const Scaling& scaling, RopeSpec* rope) {
  const auto factor = static_cast<float>(scaling.fields->number("factor", 1, 1, kMaxFactor));
  if (!scaling.fields->has("factor")) scaling.fields->expected("factor", "a number of at least 1");
  for (float& inverse : rope->inverse_freq) inverse /= factor;
}

double yarn_magnitude(double factor, double scale) {
  return factor <= 1 ? 1.0 : 0.1 * scale * std::log(factor) + 1.0;
}

double yarn_attention_factor(JsonFields* fields, double factor) {
  if (fields->has("attention_factor")) return fields->number("attention_factor", 1, 1e-6, 1e6);
  const double mscale = fields->number("mscale", 0, 0, 1e6);
  const double mscale_all_dim = fields->number("mscale_all_dim", 0, 0, 1e6);
  if (mscale != 0 && mscale_all_dim != 0) {
    return yarn_magnitude(factor, mscale) / yarn_magnitude(factor, mscale_all_dim);
  }
  return yarn_magnitude(factor, 1);
}

void scale_yarn(const Scaling& scaling, RopeSpec* rope) {
  JsonFields* fields = scaling.fields;
  const double original = scaling.original_positions;
  const double factor = fields->number(
      "factor", std::max(1.0, scaling.context->max_positions / original), 1, kMaxFactor);
  const double beta_fast = fields->number("beta_fast", 32, 1e-6, 1e6);
  const double beta_slow = fields->number("beta_slow", 1, 1e-6, 1e6);
  const double dim = rope->rotary_dim;
  if (scaling.theta <= 1) {
    fields->expected("rope_theta", "a number above 1, which yarn needs");
    return;
  }
  const auto dimension_of = [&](double rotations) {
    return dim * std::log(original / (rotations * 2 * std::numbers::pi)) /
           (2 * std::log(scaling.theta));
  };
  double low = dimension_of(beta_fast);
  double high = dimension_of(beta_slow);
  if (fields->boolean("truncate", true)) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dim - 1);
  if (low == high) high += 0.001;
  for (size_t i = 0; i < rope->inverse_freq.size(); ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    const double inverse = rope->inverse_freq[i];
    rope->inverse_freq[i] = static_cast<float>(ramp * inverse / factor + (1 - ramp) * inverse);
  }
  rope->attention_factor = static_cast<float>(yarn_attention_factor(fields, factor));
}

void scale_llama3(const Scaling& scaling, RopeSpec* rope) {
  JsonFields* fields = scaling.fields;
  for (const char* key : {"factor", "low_freq_factor", "high_freq_factor"}) {
    if (!fields->has(key)) fields->expected(key, "a number, which rope type llama3 needs");
  }
  const double factor = fields->number("factor", 1, 1, kMaxFactor);
  const double low = fields->number("low_freq_factor", 1, 1e-6, 1e6);
  const double high = fields->number("high_freq_factor", 4, 1e-6, 1e6);
  if (high <= low) {
    fields->expected("high_freq_factor", absl::StrCat("a number above low_freq_factor, ", low));
    return;
  }
  const double original = scaling.original_positions;
  for (float& frequency : rope->inverse_freq) {
    const double inverse = frequency;
    const double wavelength = 2 * std::numbers::pi / inverse;
    if (wavelength > original / low) {
      frequency = static_cast<float>(inverse / factor);
    } else if (wavelength >= original / high) {
      const double smooth = (original / wavelength - low) / (high - low);
      frequency = static_cast<float>((1 - smooth) * inverse / factor + smooth * inverse);
    }
  }
}

absl::Status apply_scaling(const std::string& type, const Scaling& scaling, RopeSpec* rope) {
  if (type == "linear") {
    scale_linear(scaling, rope);
  } else if (type == "yarn") {
    scale_yarn(scaling, rope);
  } else if (type == "llama3") {
    scale_llama3(scaling, rope);
  } else if (type != "default") {
    return absl::UnimplementedError(
        absl::StrCat(scaling.fields->where("rope_type"), " is ", printable(type),
                     ", which is not supported; supported are default, linear, yarn, llama3"));
  }
  return scaling.fields->status();
}

}  // namespace

absl::StatusOr<RopeSpec> read_rope(JsonFields* config, std::string_view source,
                                   const RopeContext& context) {
  const bool v5 = config->has("rope_parameters");
  const char* name = v5 ? "rope_parameters" : "rope_scaling";
  const nlohmann::json none = nlohmann::json::object();
  const nlohmann::json* object = config->object(name);
  RETURN_IF_ERROR(config->status());
  JsonFields fields(object == nullptr ? &none : object, source, absl::StrCat(name, "."));
  if (fields.has("full_attention") || fields.has("sliding_attention")) {
    return absl::UnimplementedError(
        absl::StrCat(config->where(name), " differs between layer types, which is not supported"));
  }
  const std::string type = fields.text("rope_type", fields.text("type", "default"));
  RopeSpec rope;
  const double top_theta = config->number("rope_theta", context.default_theta, 1e-3, kMaxTheta);
  rope.theta = fields.number("rope_theta", top_theta, 1e-3, kMaxTheta);
  const double top_fraction = config->number("partial_rotary_factor", 1, 1e-3, 1);
  const double fraction = fields.number("partial_rotary_factor", top_fraction, 1e-3, 1);
  rope.rotary_dim = static_cast<int32_t>(context.head_dim * fraction);
  Scaling scaling{&fields, &context, rope.theta, context.max_positions};
  scaling.original_positions =
      fields.integer("original_max_position_embeddings", context.max_positions, 1, kMaxPositions);
  RETURN_IF_ERROR(config->status());
  RETURN_IF_ERROR(fields.status());
  if (rope.rotary_dim < 2 || rope.rotary_dim % 2 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(std::string(source), ": the rotary size of a head is ", rope.rotary_dim,
                     " (of head_dim ", context.head_dim, "), expected an even number from 2"));
  }
  rope.inverse_freq = plain_frequencies(rope.theta, rope.rotary_dim);
  RETURN_IF_ERROR(apply_scaling(type, scaling, &rope));
  return rope;
}

}  // namespace conclave::model
