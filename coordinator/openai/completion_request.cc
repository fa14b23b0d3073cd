#include <limits>
#include <utility>

#include "coordinator/openai/field_reader.h"
#include "coordinator/openai/requests.h"

namespace conclave::coordinator {
namespace {

constexpr int64_t kMaxInt32 = std::numeric_limits<int32_t>::max();

std::string element_path(size_t index) { return "prompt[" + std::to_string(index) + "]"; }

void read_token_prompt(FieldReader& reader, const Json& value, const std::string& path,
                       std::vector<TextOrTokens>* prompts) {
  int64_t bad_index = -1;
  auto ids = read_token_ids(value, &bad_index);
  if (!ids.has_value()) {
    const std::string where = bad_index < 0 ? path : path + "[" + std::to_string(bad_index) + "]";
    return reader.fail(where, "'" + where + "' must be a token id, an integer of 0 or more.",
                       "invalid_type");
  }
  if (ids->empty())
    return reader.fail(path, "'" + path + "' must hold at least one token.", "invalid_value");
  prompts->emplace_back(std::move(*ids));
}

void read_prompt_list(FieldReader& reader, const Json& list, std::vector<TextOrTokens>* prompts) {
  if (list.empty())
    return reader.fail("prompt", "'prompt' must not be an empty array.", "invalid_value");
  if (list.front().is_number()) return read_token_prompt(reader, list, "prompt", prompts);
  const bool texts = list.front().is_string();
  if (list.size() > static_cast<size_t>(kMaxChoices)) {
    return reader.fail("prompt",
                       "'prompt' may hold at most " + std::to_string(kMaxChoices) + " prompts.",
                       "invalid_value");
  }
  for (size_t i = 0; i < list.size() && reader.ok(); ++i) {
    if (texts && list[i].is_string()) {
      prompts->emplace_back(list[i].get<std::string>());
    } else if (!texts && list[i].is_array()) {
      read_token_prompt(reader, list[i], element_path(i), prompts);
    } else {
      reader.fail(element_path(i),
                  "'prompt' must be a string, an array of strings, an array of token ids or an "
                  "array of such arrays.",
                  "invalid_type");
    }
  }
}

void read_prompts(FieldReader& reader, std::vector<TextOrTokens>* prompts) {
  const Json* value = reader.find("prompt");
  if (!reader.ok()) return;
  if (value == nullptr)
    return reader.fail("prompt", "'prompt' is missing.", "missing_required_parameter");
  if (value->is_string()) {
    prompts->emplace_back(value->get<std::string>());
  } else if (value->is_array()) {
    read_prompt_list(reader, *value, prompts);
  } else {
    reader.fail_type(
        "prompt",
        "a string, an array of strings, an array of token ids or an array of such arrays");
  }
}

void check_limits(FieldReader& reader, const CompletionRequest& request) {
  const GenerationFields& fields = request.fields;
  if (static_cast<int64_t>(request.prompts.size()) * fields.n > kMaxChoices) {
    reader.fail(
        "n", "'n' times the number of prompts may be at most " + std::to_string(kMaxChoices) + ".",
        "invalid_value");
  }
  if (fields.max_tokens.has_value() && fields.min_tokens > *fields.max_tokens) {
    reader.fail("min_tokens", "'min_tokens' must not be greater than 'max_tokens'.",
                "invalid_value");
  }
}

}  // namespace

std::optional<ApiError> parse_completion_request(std::string_view body,
                                                 CompletionRequest* request) {
  Json object;
  if (auto error = parse_json_object(body, &object)) return error;
  FieldReader reader(object, "");
  GenerationFields& fields = request->fields;
  read_generation_fields(reader, Endpoint::kCompletion, &fields);
  read_prompts(reader, &request->prompts);
  request->echo = reader.boolean("echo").value_or(false);
  request->add_special_tokens = reader.boolean("add_special_tokens").value_or(true);
  fields.top_logprobs =
      static_cast<int32_t>(reader.integer("logprobs", 0, kMaxTopLogprobs).value_or(-1));
  const auto best_of = reader.integer("best_of", 1, kMaxInt32);
  if (best_of.has_value() && *best_of != fields.n) {
    reader.fail("best_of", "'best_of' must be equal to 'n' or left out.", "unsupported_value");
  }
  if (reader.ok()) check_limits(reader, *request);
  if (!reader.ok()) return reader.error();
  fields.unknown.insert(fields.unknown.end(), reader.unknown().begin(), reader.unknown().end());
  return std::nullopt;
}

}  // namespace conclave::coordinator
