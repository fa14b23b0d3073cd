#include <charconv>
#include <limits>
#include <utility>

#include "coordinator/openai/field_reader.h"
#include "coordinator/openai/requests.h"

namespace conclave::coordinator {
namespace {

constexpr int32_t kMaxInt32 = std::numeric_limits<int32_t>::max();

std::optional<int32_t> token_id_of_key(std::string_view key) {
  int32_t id = 0;
  const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
  if (error != std::errc() || end != key.data() + key.size() || id < 0 || key.front() == '-')
    return std::nullopt;
  return id;
}

void read_logit_bias(FieldReader& reader, std::vector<protocol::TokenBias>* bias) {
  const Json* value = reader.find("logit_bias");
  if (value == nullptr) return;
  if (!value->is_object())
    return reader.fail_type("logit_bias", "an object from token ids to numbers");
  if (value->size() > kMaxLogitBiases) {
    return reader.fail(
        "logit_bias",
        "'logit_bias' may hold at most " + std::to_string(kMaxLogitBiases) + " tokens.",
        "invalid_value");
  }
  for (const auto& member : *value->get_ptr<const Json::object_t*>()) {
    const std::string where = "logit_bias." + member.first.substr(0, 64);
    const std::optional<int32_t> id = token_id_of_key(member.first);
    if (!id.has_value()) {
      return reader.fail(where, "A key of 'logit_bias' must be a token id, such as \"50256\".",
                         "invalid_value");
    }
    if (!member.second.is_number())
      return reader.fail(where, "'" + where + "' must be a number.", "invalid_type");
    const double amount = member.second.get<double>();
    if (!(amount >= -100 && amount <= 100)) {
      return reader.fail(where, "'" + where + "' must be at least -100 and at most 100.",
                         "invalid_value");
    }
    bias->push_back({*id, static_cast<float>(amount)});
  }
}

bool add_stop_string(FieldReader& reader, const Json& value, const std::string& where,
                     std::vector<std::string>* stop) {
  if (!value.is_string()) {
    reader.fail(where, "'" + where + "' must be a string.", "invalid_type");
    return false;
  }
  std::string text = value.get<std::string>();
  if (text.empty() || text.size() > kMaxStopStringBytes) {
    reader.fail(where,
                "'" + where + "' must have 1 to " + std::to_string(kMaxStopStringBytes) + " bytes.",
                "invalid_value");
    return false;
  }
  stop->push_back(std::move(text));
  return true;
}

void read_stop(FieldReader& reader, std::vector<std::string>* stop) {
  const Json* value = reader.find("stop");
  if (value == nullptr) return;
  if (value->is_string()) {
    add_stop_string(reader, *value, "stop", stop);
    return;
  }
  if (!value->is_array()) return reader.fail_type("stop", "a string or an array of strings");
  if (value->size() > kMaxStopStrings) {
    return reader.fail("stop",
                       "'stop' may hold at most " + std::to_string(kMaxStopStrings) + " strings.",
                       "invalid_value");
  }
  for (size_t i = 0; i < value->size(); ++i) {
    if (!add_stop_string(reader, (*value)[i], "stop[" + std::to_string(i) + "]", stop)) return;
  }
}

void read_stop_token_ids(FieldReader& reader, std::vector<int32_t>* ids) {
  *ids = reader.token_ids("stop_token_ids").value_or(std::vector<int32_t>());
  if (ids->size() <= kMaxStopTokenIds) return;
  reader.fail("stop_token_ids",
              "'stop_token_ids' may hold at most " + std::to_string(kMaxStopTokenIds) + " tokens.",
              "invalid_value");
}

void read_seed(FieldReader& reader, std::optional<uint64_t>* seed) {
  const Json* value = reader.find("seed");
  if (value == nullptr) return;
  if (value->is_number_unsigned()) {
    *seed = value->get<uint64_t>();
  } else if (value->is_number_integer()) {
    *seed = static_cast<uint64_t>(value->get<int64_t>());
  } else {
    reader.fail_type("seed", "an integer");
  }
}

void read_sampling(FieldReader& reader, SamplingFields* sampling) {
  sampling->temperature = reader.number("temperature", {0, 2});
  sampling->top_p = reader.number("top_p", {0, 1, true});
  sampling->min_p = reader.number("min_p", {0, 1});
  sampling->repetition_penalty = reader.number("repetition_penalty", {0, 100, true});
  sampling->presence_penalty = reader.number("presence_penalty", {-2, 2}).value_or(0);
  sampling->frequency_penalty = reader.number("frequency_penalty", {-2, 2}).value_or(0);
  if (const auto top_k = reader.integer("top_k", -1, kMaxInt32)) {
    sampling->top_k = *top_k == -1 ? 0 : static_cast<int32_t>(*top_k);
  }
  read_seed(reader, &sampling->seed);
  read_logit_bias(reader, &sampling->bias);
}

// What the reader of a member found: its error, its unknown names.
void take(FieldReader& reader, const FieldReader& member, GenerationFields* fields) {
  if (!member.ok())
    reader.fail(*member.error()->param, member.error()->message, *member.error()->code);
  fields->unknown.insert(fields->unknown.end(), member.unknown().begin(), member.unknown().end());
}

void read_stream_options(FieldReader& reader, Endpoint endpoint, GenerationFields* fields) {
  fields->stream = reader.boolean("stream").value_or(false);
  const Json* value = reader.find("stream_options");
  if (value == nullptr) return;
  if (!value->is_object()) return reader.fail_type("stream_options", "an object");
  if (!fields->stream) {
    return reader.fail("stream_options", "'stream_options' is only allowed when 'stream' is true.",
                       "invalid_value");
  }
  FieldReader options(*value, "stream_options");
  options.check_names(endpoint);
  fields->include_usage = options.boolean("include_usage").value_or(false);
  take(reader, options, fields);
}

void read_response_format(FieldReader& reader, Endpoint endpoint, GenerationFields* fields) {
  const Json* value = reader.find("response_format");
  if (value == nullptr) return;
  if (!value->is_object()) return reader.fail_type("response_format", "an object");
  const auto type = value->find("type");
  if (type == value->end() || !type->is_string()) {
    return reader.fail("response_format.type", "'response_format.type' must be a string.",
                       "invalid_type");
  }
  if (*type != "text") {
    return reader.fail("response_format",
                       "This server writes plain text only: 'response_format.type' must be \"text\".",
                       "unsupported_value");
  }
  FieldReader members(*value, "response_format");
  members.check_names(endpoint);
  take(reader, members, fields);
}

// max_completion_tokens is the newer name and wins.
void read_max_tokens(FieldReader& reader, int64_t least, std::optional<int32_t>* limit) {
  for (const char* name : {"max_tokens", "max_completion_tokens"}) {
    if (const auto value = reader.integer(name, least, kMaxInt32))
      *limit = static_cast<int32_t>(*value);
  }
}

}  // namespace

void read_generation_fields(FieldReader& reader, Endpoint endpoint, GenerationFields* fields) {
  reader.check_names(endpoint);
  fields->model = reader.string("model").value_or("");
  read_sampling(reader, &fields->sampling);
  // 0 tokens of a completion: its echoed prompt.
  read_max_tokens(reader, endpoint == Endpoint::kChat ? 1 : 0, &fields->max_tokens);
  fields->n = static_cast<int32_t>(reader.integer("n", 1, kMaxChoices).value_or(1));
  fields->min_tokens = static_cast<int32_t>(reader.integer("min_tokens", 0, kMaxInt32).value_or(0));
  fields->ignore_eos = reader.boolean("ignore_eos").value_or(false);
  read_stop(reader, &fields->stop);
  read_stop_token_ids(reader, &fields->stop_token_ids);
  fields->skip_special_tokens = reader.boolean("skip_special_tokens").value_or(true);
  fields->include_stop_str_in_output = reader.boolean("include_stop_str_in_output").value_or(false);
  fields->return_tokens_as_token_ids = reader.boolean("return_tokens_as_token_ids").value_or(false);
  fields->priority =
      static_cast<int32_t>(reader.integer("priority", -kMaxInt32, kMaxInt32).value_or(0));
  read_stream_options(reader, endpoint, fields);
  read_response_format(reader, endpoint, fields);
  reader.string("user");
}

}  // namespace conclave::coordinator
