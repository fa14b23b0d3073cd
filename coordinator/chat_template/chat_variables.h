#ifndef CONCLAVE_COORDINATOR_CHAT_TEMPLATE_CHAT_VARIABLES_H_
#define CONCLAVE_COORDINATOR_CHAT_TEMPLATE_CHAT_VARIABLES_H_

#include <cstddef>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "absl/status/statusor.h"

namespace conclave::coordinator {

// What a conversation is to a chat template, whoever asks (the API, `conclave generate`).
struct ChatVariables {
  nlohmann::ordered_json messages;  // an array of objects, as a client sends them
  // By index of the message: the parts of a content that the client sent as a list, for a template
  // that takes_content_parts(). Empty: content is the text in `messages`.
  std::map<size_t, nlohmann::ordered_json> content_parts;
  bool knows_developer = false;  // the template has the role; else it is what it was before, system
  bool add_generation_prompt = true;
  std::map<std::string, std::string> special_tokens;  // "eos_token" -> its text
  std::optional<std::string> reasoning_effort;
  nlohmann::ordered_json arguments = nlohmann::ordered_json::object();  // chat_template_kwargs
};

// The variables as transformers hands them to a template: null keys of a message are gone, `tools`
// and `documents` are none unless set, tool call arguments are objects where their text is one,
// reasoning has all the names that templates read. As in vLLM, reasoning_effort is a variable and
// sets enable_thinking. chat_template_kwargs win over everything but the messages. INVALID_ARGUMENT
// "messages[i]...: why" for a number that would silently become another one.
absl::StatusOr<nlohmann::ordered_json> chat_variables(ChatVariables chat);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_CHAT_TEMPLATE_CHAT_VARIABLES_H_
