#include "coordinator/chat_template/chat_variables.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/chat_template/value_json.h"

namespace conclave::coordinator {
namespace {

using Json = nlohmann::ordered_json;

// The first is the name that most templates read, the second is gpt-oss's.
constexpr std::array<const char*, 3> kReasoningNames = {"reasoning_content", "thinking",
                                                        "reasoning"};

Json without_nulls(const Json& message) {
  Json kept = Json::object();
  for (const auto& [key, value] : message.items()) {
    if (!value.is_null()) kept[key] = value;
  }
  return kept;
}

// Copies what is there under one name to the names before it; a message's own `thinking` stays.
void alias_reasoning(Json& message) {
  const auto name =
      std::find_if(kReasoningNames.begin(), kReasoningNames.end(),
                   [&](const char* candidate) { return message.contains(candidate); });
  if (name == kReasoningNames.end()) return;
  const Json reasoning = message[*name];
  Json aliased = Json::object();
  aliased["thinking"] = reasoning;
  for (const auto& [key, value] : message.items()) aliased[key] = value;
  aliased["reasoning_content"] = reasoning;
  message = std::move(aliased);
}

// A text that is a JSON object becomes that object, an empty one an empty object; other text stays.
absl::Status parse_arguments(Json& function) {
  const auto arguments = function.find("arguments");
  const bool absent = arguments == function.end() || arguments->is_null();
  if (absent || (arguments->is_string() && arguments->get_ref<const std::string&>().empty())) {
    function["arguments"] = Json::object();
    return absl::OkStatus();
  }
  if (!arguments->is_string()) return absl::OkStatus();
  const auto& text = arguments->get_ref<const std::string&>();
  Json parsed = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object()) return absl::OkStatus();
  RETURN_IF_ERROR(jinja::check_integers(text));
  *arguments = std::move(parsed);
  return absl::OkStatus();
}

absl::Status parse_tool_calls(Json& message, size_t index) {
  const auto calls = message.find("tool_calls");
  if (calls == message.end() || !calls->is_array()) return absl::OkStatus();
  for (size_t i = 0; i < calls->size(); ++i) {
    Json& call = (*calls)[i];
    if (!call.is_object() || !call.contains("function") || !call["function"].is_object()) continue;
    const absl::Status parsed = parse_arguments(call["function"]);
    if (parsed.ok()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("messages[", index, "].tool_calls[", i,
                     "].function.arguments: ", std::string(parsed.message())));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Json> chat_variables(ChatVariables chat) {
  Json messages = Json::array();
  for (size_t i = 0; i < chat.messages.size(); ++i) {
    if (!chat.messages[i].is_object()) {
      return absl::InvalidArgumentError(absl::StrCat("messages[", i, "] must be an object"));
    }
    Json message = without_nulls(chat.messages[i]);
    if (!chat.knows_developer && message.contains("role") && message["role"] == "developer")
      message["role"] = "system";
    if (const auto parts = chat.content_parts.find(i); parts != chat.content_parts.end())
      message["content"] = std::move(parts->second);
    alias_reasoning(message);
    RETURN_IF_ERROR(parse_tool_calls(message, i));
    messages.push_back(std::move(message));
  }
  Json variables = Json::object();
  for (const auto& [name, token] : chat.special_tokens) variables[name] = token;
  variables["tools"] = nullptr;
  variables["documents"] = nullptr;
  variables["add_generation_prompt"] = chat.add_generation_prompt;
  if (chat.reasoning_effort) {
    variables["reasoning_effort"] = *chat.reasoning_effort;
    variables["enable_thinking"] = *chat.reasoning_effort != "none";
  }
  for (const auto& [name, value] : chat.arguments.items()) variables[name] = value;
  variables["messages"] = std::move(messages);
  return variables;
}

}  // namespace conclave::coordinator
