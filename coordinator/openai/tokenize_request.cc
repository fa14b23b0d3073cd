#include <utility>

#include "coordinator/openai/field_reader.h"
#include "coordinator/openai/requests.h"

namespace conclave::coordinator {

std::optional<ApiError> parse_tokenize_request(std::string_view body, TokenizeRequest* request) {
  Json object;
  if (auto error = parse_json_object(body, &object)) return error;
  FieldReader reader(object, "");
  reader.check_names(Endpoint::kTokenize);
  request->model = reader.string("model").value_or("");
  request->prompt = reader.string("prompt");
  const auto add_special_tokens = reader.boolean("add_special_tokens");
  request->add_special_tokens = add_special_tokens.value_or(true);
  request->return_token_strs = reader.boolean("return_token_strs").value_or(false);
  if (request->prompt.has_value() && reader.find("messages") != nullptr) {
    reader.fail("messages", "Give either 'prompt' or 'messages', not both.", "invalid_value");
  }
  if (!request->prompt.has_value()) {
    if (reader.ok() && reader.find("messages") == nullptr) {
      reader.fail("prompt", "Either 'prompt' or 'messages' is needed.",
                  "missing_required_parameter");
    }
    read_chat_prompt(reader, &request->chat);
    request->chat.add_special_tokens = add_special_tokens.value_or(false);
  }
  if (!reader.ok()) return reader.error();
  request->unknown = reader.unknown();
  return std::nullopt;
}

std::optional<ApiError> parse_detokenize_request(std::string_view body,
                                                 DetokenizeRequest* request) {
  Json object;
  if (auto error = parse_json_object(body, &object)) return error;
  FieldReader reader(object, "");
  reader.check_names(Endpoint::kDetokenize);
  request->model = reader.string("model").value_or("");
  auto tokens = reader.token_ids("tokens");
  request->skip_special_tokens = reader.boolean("skip_special_tokens").value_or(false);
  if (reader.ok() && !tokens.has_value()) {
    reader.fail("tokens", "'tokens' is missing.", "missing_required_parameter");
  }
  if (!reader.ok()) return reader.error();
  request->tokens = std::move(*tokens);
  request->unknown = reader.unknown();
  return std::nullopt;
}

}  // namespace conclave::coordinator
