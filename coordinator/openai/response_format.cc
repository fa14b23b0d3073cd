#include "coordinator/openai/response_format.h"

#include "coordinator/http/json_text.h"

namespace conclave::coordinator {
namespace {

// {"id":…,"object":…,"created":…,"model":…,"system_fingerprint":…,"choices":[
std::string object_head(const ResponseIdentity& identity, std::string_view object) {
  std::string out = "{\"id\":";
  append_json_string(&out, identity.id);
  out.append(",\"object\":\"").append(object).append("\",\"created\":");
  append_json_int(&out, identity.created);
  out.append(",\"model\":");
  append_json_string(&out, identity.model);
  out.append(",\"system_fingerprint\":");
  append_json_string(&out, identity.system_fingerprint);
  out.append(",\"choices\":[");
  return out;
}

void append_usage_object(std::string* out, const Usage& usage) {
  out->append("{\"prompt_tokens\":");
  append_json_int(out, usage.prompt_tokens);
  out->append(",\"completion_tokens\":");
  append_json_int(out, usage.completion_tokens);
  out->append(",\"total_tokens\":");
  append_json_int(out, usage.prompt_tokens + usage.completion_tokens);
  out->append(",\"prompt_tokens_details\":{\"cached_tokens\":");
  append_json_int(out, usage.cached_tokens);
  out->append("},\"completion_tokens_details\":{\"reasoning_tokens\":0}}");
}

}  // namespace

void append_answer_head(std::string* out, const ResponseIdentity& identity) {
  out->append(object_head(identity, identity.chat ? "chat.completion" : "text_completion"));
}

void append_choice_head(std::string* out, bool chat, size_t index, std::string_view text) {
  out->append("{\"index\":");
  append_json_int(out, static_cast<int64_t>(index));
  out->append(chat ? ",\"message\":{\"role\":\"assistant\",\"content\":" : ",\"text\":");
  append_json_string(out, text);
  out->append(chat ? ",\"refusal\":null},\"logprobs\":" : ",\"logprobs\":");
}

void append_choice_end(std::string* out, std::string_view finish_reason) {
  out->append(",\"finish_reason\":\"").append(finish_reason).append("\"}");
}

void append_answer_end(std::string* out, const Usage& usage) {
  out->append("],\"usage\":");
  append_usage_object(out, usage);
  out->push_back('}');
}

StreamFormat::StreamFormat(const ResponseIdentity& identity, bool include_usage)
    : chat_(identity.chat), include_usage_(include_usage) {
  head_ =
      "data: " + object_head(identity, identity.chat ? "chat.completion.chunk" : "text_completion");
  choice_head_ = head_ + "{\"index\":";
  text_key_ = chat_ ? ",\"delta\":{\"content\":" : ",\"text\":";
  tail_ = include_usage_ ? "}],\"usage\":null}\n\n" : "}]}\n\n";
}

void StreamFormat::append_role(std::string* out, int32_t choice) const {
  out->append(choice_head_);
  append_json_int(out, choice);
  out->append(
      ",\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,\"finish_reason\":"
      "null");
  out->append(tail_);
}

void StreamFormat::append_text(std::string* out, int32_t choice, std::string_view text,
                               std::string_view logprobs) const {
  out->append(choice_head_);
  append_json_int(out, choice);
  out->append(text_key_);
  append_json_string(out, text);
  out->append(chat_ ? "},\"logprobs\":" : ",\"logprobs\":").append(logprobs);
  out->append(",\"finish_reason\":null").append(tail_);
}

void StreamFormat::append_finish(std::string* out, int32_t choice, std::string_view reason) const {
  out->append(choice_head_);
  append_json_int(out, choice);
  out->append(chat_ ? ",\"delta\":{}" : ",\"text\":\"\"");
  out->append(",\"logprobs\":null,\"finish_reason\":\"").append(reason).append("\"").append(tail_);
}

void StreamFormat::append_usage(std::string* out, const Usage& usage) const {
  if (!include_usage_) return;
  out->append(head_).append("],\"usage\":");
  append_usage_object(out, usage);
  out->append("}\n\n");
}

void StreamFormat::append_error(std::string* out, const ApiError& error) {
  out->append("data: ").append(error_json(error)).append("\n\n");
}

void StreamFormat::append_done(std::string* out) { out->append("data: [DONE]\n\n"); }

}  // namespace conclave::coordinator
