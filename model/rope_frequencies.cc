#include "model/rope_frequencies.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/rope_parameters.h"

namespace conclave::model {
namespace {

constexpr double kMaxFactor = 1e6;

// What a scaling type reads and what it changes.
struct Scaling {
  JsonFields* fields;
  const RopeContext* context;
  double theta;
  int32_t original_positions;
  RopeReading* out;
};

// The factor must be there; what null means depends on the type.
double required_factor(JsonFields* fields) {
  if (!fields->has("factor")) fields->expected("factor", "a number of at least 1");
  return fields->number("factor", 1, 1, kMaxFactor);
}

void set_window(const Scaling& scaling, double tokens, std::string source) {
  if (tokens > INT32_MAX) {
    scaling.fields->expected("factor", absl::StrCat("at most ", INT32_MAX, " tokens by ", source));
    return;
  }
  scaling.out->window = static_cast<int32_t>(tokens);
  scaling.out->window_source = std::move(source);
}

std::vector<float> plain_frequencies(double theta, int32_t dim) {
  std::vector<float> inverse(static_cast<size_t>(dim / 2));
  for (size_t i = 0; i < inverse.size(); ++i) {
    // Rounded to float32 at the same points as the models' training code.
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(dim);
    inverse[i] = 1.0f / static_cast<float>(std::pow(static_cast<float>(theta), double{exponent}));
  }
  return inverse;
}

void scale_linear(const Scaling& scaling) {
  const double factor = required_factor(scaling.fields);
  for (float& inverse : scaling.out->spec.inverse_freq) inverse /= static_cast<float>(factor);
  set_window(scaling, scaling.context->max_positions * factor,
             absl::StrCat("max_position_embeddings ", scaling.context->max_positions, " x factor ",
                          factor, " (linear)"));
}

// Up to max_position_embeddings the frequencies are the plain ones; beyond that each new length has
// frequencies of its own, and tokens would depend on what was in the cache already.
void keep_dynamic(const Scaling& scaling) {
  required_factor(scaling.fields);
  set_window(
      scaling, scaling.context->max_positions,
      "max_position_embeddings; rope type dynamic changes the frequencies of longer sequences "
      "with every token, which is not supported");
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

double yarn_factor(const Scaling& scaling) {
  JsonFields* fields = scaling.fields;
  if (fields->has("factor") || !fields->given("factor")) return required_factor(fields);
  const double factor = double{1.0} * scaling.context->max_positions / scaling.original_positions;
  if (factor < 1) fields->expected("factor", "a number of at least 1");
  return factor;
}

// 0 counts as not given.
double yarn_beta(JsonFields* fields, const char* key, double fallback) {
  const double beta = fields->number(key, fallback, 0, 1e6);
  return beta == 0 ? fallback : beta;
}

void scale_yarn(const Scaling& scaling) {
  JsonFields* fields = scaling.fields;
  RopeSpec* rope = &scaling.out->spec;
  const double original = scaling.original_positions;
  const double factor = yarn_factor(scaling);
  const double beta_fast = yarn_beta(fields, "beta_fast", 32);
  const double beta_slow = yarn_beta(fields, "beta_slow", 1);
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
  const bool null_truncate = fields->given("truncate") && !fields->has("truncate");
  if (fields->boolean("truncate", !null_truncate)) {
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
  set_window(
      scaling, std::floor(original * factor),
      absl::StrCat("original ", scaling.original_positions, " x factor ", factor, " (yarn)"));
}

void scale_llama3(const Scaling& scaling) {
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
  for (float& frequency : scaling.out->spec.inverse_freq) {
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

double longrope_attention_factor(const Scaling& scaling) {
  JsonFields* fields = scaling.fields;
  if (fields->has("attention_factor")) return fields->number("attention_factor", 1, 1e-6, 1e6);
  const double original = scaling.original_positions;
  const double factor =
      fields->number("factor", scaling.context->max_positions / original, 1e-6, kMaxFactor);
  return factor <= 1 ? 1.0 : std::sqrt(1 + std::log(factor) / std::log(original));
}

// Sequences up to the original length have the short factors; a longer one would have the long
// factors for all its tokens, those in the cache included.
void scale_longrope(const Scaling& scaling) {
  RopeSpec* rope = &scaling.out->spec;
  const size_t size = rope->inverse_freq.size();
  for (const char* key : {"short_factor", "long_factor"}) {
    const std::vector<double> factors = scaling.fields->number_list(key, 1e-6, kMaxFactor);
    if (factors.size() != size) {
      scaling.fields->expected(key, absl::StrCat("a list of ", size, " numbers"));
    } else if (std::string_view(key) == "short_factor") {
      for (size_t i = 0; i < size; ++i) {
        rope->inverse_freq[i] = static_cast<float>(double{rope->inverse_freq[i]} / factors[i]);
      }
    }
  }
  rope->attention_factor = static_cast<float>(longrope_attention_factor(scaling));
  set_window(scaling, std::min(scaling.original_positions, scaling.context->max_positions),
             "original_max_position_embeddings; rope type longrope rotates longer sequences "
             "otherwise from their first token on, which is not supported");
}

absl::Status apply_scaling(const std::string& type, const Scaling& scaling) {
  if (type == "linear") {
    scale_linear(scaling);
  } else if (type == "dynamic") {
    keep_dynamic(scaling);
  } else if (type == "yarn") {
    scale_yarn(scaling);
  } else if (type == "llama3") {
    scale_llama3(scaling);
  } else if (type == "longrope") {
    scale_longrope(scaling);
  } else if (type != "default") {
    return absl::UnimplementedError(absl::StrCat(
        scaling.fields->where("rope_type"), " is ", printable(type), ", which is not supported; ",
        "supported are default, linear, dynamic, yarn, llama3, longrope"));
  }
  return scaling.fields->status();
}

}  // namespace

absl::StatusOr<RopeReading> read_rope(JsonFields* config, std::string_view source,
                                      const RopeContext& context) {
  ASSIGN_OR_RETURN(
      RopeParameters parameters,
      read_rope_parameters(config, source, context.default_theta, context.max_positions));
  RopeReading out;
  out.notes = std::move(parameters.notes);
  out.window = context.max_positions;
  out.window_source = "max_position_embeddings";
  out.spec.type = parameters.type;
  out.spec.theta = parameters.theta;
  out.spec.rotary_dim = context.head_dim;
  if (context.head_dim % 2 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(std::string(source), ": the rotary size of a head is ", context.head_dim,
                     ", expected an even number from 2"));
  }
  out.spec.inverse_freq = plain_frequencies(parameters.theta, context.head_dim);
  JsonFields fields(&parameters.object, source, absl::StrCat(parameters.name, "."));
  RETURN_IF_ERROR(apply_scaling(
      parameters.type, {&fields, &context, parameters.theta, parameters.original_positions, &out}));
  return out;
}

}  // namespace conclave::model
