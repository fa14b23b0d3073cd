#include <array>
#include <utility>

#include "coordinator/openai/field_reader.h"
#include "coordinator/openai/requests.h"

namespace conclave::coordinator {
namespace {

std::string part_path(const std::string& content_path, size_t index) {
  return content_path + "[" + std::to_string(index) + "]";
}

// Text of a content part; fails for anything that is not text. A refusal has no text of the answer: templates
// find it as message.refusal, where answers carry it as well.
std::optional<std::string> part_text(FieldReader& reader, const Json& part, const std::string& path,
                                     bool of_assistant) {
  if (part.is_string()) return part.get<std::string>();
  const auto type = part.is_object() ? part.find("type") : part.end();
  if (!part.is_object() || type == part.end() || !type->is_string()) {
    reader.fail(path, "'" + path + "' must be an object with a 'type'.", "invalid_type");
    return std::nullopt;
  }
  if (*type == "refusal" && of_assistant) return "";
  if (*type != "text") {
    reader.fail(path,
                "'" + path + "' is of type \"" + type->get<std::string>().substr(0, 64) +
                    "\": this server reads text only.",
                "unsupported_value");
    return std::nullopt;
  }
  const auto text = part.find("text");
  if (text == part.end() || !text->is_string()) {
    reader.fail(path + ".text", "'" + path + ".text' must be a string.", "invalid_type");
    return std::nullopt;
  }
  return text->get<std::string>();
}

// A string, or text parts joined by line breaks.
std::optional<std::string> content_text(FieldReader& reader, const Json& content,
                                        const std::string& path, bool of_assistant) {
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) {
    reader.fail(path, "'" + path + "' must be a string or an array of text parts.", "invalid_type");
    return std::nullopt;
  }
  std::string joined;
  for (size_t i = 0; i < content.size(); ++i) {
    const auto text = part_text(reader, content[i], part_path(path, i), of_assistant);
    if (!text.has_value()) return std::nullopt;
    if (i != 0) joined.push_back('\n');
    joined.append(*text);
  }
  return joined;
}

// The text parts as templates that loop over them read them.
Json text_parts(const Json& content) {
  Json parts = Json::array();
  for (const Json& part : content) {
    if (part.is_string()) {
      parts.push_back({{"type", "text"}, {"text", part}});
    } else if (part["type"] == "text") {
      parts.push_back(part);
    }
  }
  return parts;
}

std::optional<std::string> refusal_of_parts(const Json* content) {
  if (content == nullptr || !content->is_array()) return std::nullopt;
  for (const Json& part : *content) {
    if (!part.is_object() || part.value("type", Json()) != "refusal") continue;
    if (const auto said = part.find("refusal"); said != part.end() && said->is_string()) {
      return said->get<std::string>();
    }
  }
  return std::nullopt;
}

bool is_role(const std::string& role) {
  constexpr std::array kRoles = {"developer", "system", "user", "assistant", "tool", "function"};
  for (const char* known : kRoles) {
    if (role == known) return true;
  }
  return false;
}

std::string read_role(FieldReader& reader, FieldReader& fields) {
  const std::optional<std::string> role = fields.string("role");
  const std::string where = fields.param("role");
  if (!fields.ok()) {
    reader.fail(where, fields.error()->message, "invalid_type");
  } else if (!role.has_value()) {
    reader.fail(where, "'" + where + "' is missing.", "missing_required_parameter");
  } else if (!is_role(*role)) {
    reader.fail(where, "'" + where + "' must be developer, system, user, assistant, tool or function.",
                "invalid_value");
  }
  return role.value_or("");
}

// The message as the template gets it: same fields, plain content.
Json read_message(FieldReader& reader, const Json& message, const std::string& path) {
  if (!message.is_object()) {
    reader.fail(path, "'" + path + "' must be an object.", "invalid_type");
    return nullptr;
  }
  FieldReader fields(message, path);
  const std::string role = read_role(reader, fields);
  const Json* content = fields.find("content");
  const Json* tool_calls = fields.find("tool_calls");
  std::optional<std::string> text;
  if (content != nullptr) {
    text = content_text(reader, *content, path + ".content", role == "assistant");
  } else if (role == "assistant" || role == "function") {
    text = "";  // answers that only refuse or call have none
  } else {
    reader.fail(path + ".content", "'" + path + ".content' is missing.",
                "missing_required_parameter");
  }
  if (tool_calls != nullptr && !tool_calls->is_array()) {
    reader.fail(path + ".tool_calls", "'" + path + ".tool_calls' must be an array.",
                "invalid_type");
  }
  if (!reader.ok()) return nullptr;
  // As other servers spell it: go on with this message instead of answering it.
  for (const char* name : {"prefix", "partial"}) {
    const Json* wish = fields.find(name);
    if (wish == nullptr || *wish == false) continue;
    reader.fail(path + "." + name, "'" + path + "." + name + "' is not supported: an answer is a message of its own.",
                "unsupported_parameter");
    return nullptr;
  }
  Json out = message;
  out["content"] = std::move(*text);
  if (const auto refusal = refusal_of_parts(content)) {
    if (fields.find("refusal") == nullptr) out["refusal"] = *refusal;
  }
  return out;
}

int32_t read_chat_logprobs(FieldReader& reader) {
  const bool logprobs = reader.boolean("logprobs").value_or(false);
  const auto top = reader.integer("top_logprobs", 0, kMaxTopLogprobs);
  if (top.has_value() && !logprobs) {
    // 0 without logprobs asks for nothing; some clients send it always.
    if (*top == 0) return -1;
    reader.fail("top_logprobs", "'top_logprobs' is only allowed when 'logprobs' is true.",
                "invalid_value");
  }
  return logprobs ? static_cast<int32_t>(top.value_or(0)) : -1;
}

}  // namespace

void read_chat_prompt(FieldReader& reader, ChatPrompt* prompt) {
  const Json* messages = reader.find("messages");
  if (!reader.ok()) return;
  if (messages == nullptr) {
    return reader.fail("messages", "'messages' is missing.", "missing_required_parameter");
  }
  if (!messages->is_array()) return reader.fail_type("messages", "an array of messages");
  if (messages->empty()) {
    return reader.fail("messages", "'messages' must hold at least one message.", "invalid_value");
  }
  prompt->messages = Json::array();
  for (size_t i = 0; i < messages->size(); ++i) {
    prompt->messages.push_back(
        read_message(reader, (*messages)[i], "messages[" + std::to_string(i) + "]"));
    if (!reader.ok()) return;
    const auto content = (*messages)[i].find("content");
    if (content == (*messages)[i].end() || !content->is_array()) continue;
    // Without a text part (a refusal alone) it is the empty text for every template.
    if (Json parts = text_parts(*content); !parts.empty()) prompt->content_parts[i] = std::move(parts);
  }
  prompt->add_generation_prompt = reader.boolean("add_generation_prompt").value_or(true);
  prompt->reasoning_effort = reader.string("reasoning_effort");
  const Json* arguments = reader.find("chat_template_kwargs");
  if (arguments == nullptr) return;
  if (!arguments->is_object()) return reader.fail_type("chat_template_kwargs", "an object");
  if (arguments->contains("messages")) {
    return reader.fail("chat_template_kwargs.messages",
                       "'chat_template_kwargs' cannot replace the messages; send them in 'messages'.", "invalid_value");
  }
  prompt->template_arguments = *arguments;
}

std::optional<ApiError> parse_chat_request(std::string_view body, ChatRequest* request) {
  Json object;
  if (auto error = parse_json_object(body, &object)) return error;
  FieldReader reader(object, "");
  GenerationFields& fields = request->fields;
  read_generation_fields(reader, Endpoint::kChat, &fields);
  read_chat_prompt(reader, &request->prompt);
  request->prompt.add_special_tokens = reader.boolean("add_special_tokens").value_or(false);
  fields.top_logprobs = read_chat_logprobs(reader);
  if (fields.max_tokens.has_value() && fields.min_tokens > *fields.max_tokens) {
    reader.fail("min_tokens", "'min_tokens' must not be greater than the token limit.",
                "invalid_value");
  }
  if (!reader.ok()) return reader.error();
  fields.unknown.insert(fields.unknown.end(), reader.unknown().begin(), reader.unknown().end());
  return std::nullopt;
}

}  // namespace conclave::coordinator
