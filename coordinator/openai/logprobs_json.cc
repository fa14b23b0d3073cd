#include "coordinator/openai/logprobs_json.h"

#include <algorithm>
#include <array>

#include "coordinator/http/json_text.h"

namespace conclave::coordinator {
namespace {

std::string token_text(const LogprobsStyle& style, int32_t token) {
  if (style.tokens_as_ids) return "token_id:" + std::to_string(token);
  return valid_utf8(style.tokenizer->token_bytes(token));
}

void append_optional_logprob(std::string* out, const std::optional<float>& logprob) {
  if (logprob.has_value()) {
    append_json_logprob(out, *logprob);
  } else {
    out->append("null");
  }
}

// {"token":…,"logprob":…,"bytes":[…] without the closing brace.
void append_chat_token(std::string* out, const LogprobsStyle& style, int32_t token,
                       const std::optional<float>& logprob) {
  out->append("{\"token\":");
  append_json_string(out, token_text(style, token));
  out->append(",\"logprob\":");
  append_optional_logprob(out, logprob);
  out->append(",\"bytes\":[");
  bool first = true;
  for (const char byte : style.tokenizer->token_bytes(token)) {
    if (!first) out->push_back(',');
    first = false;
    append_json_int(out, static_cast<unsigned char>(byte));
  }
  out->push_back(']');
}

size_t shown_alternatives(const LogprobsStyle& style, const LogprobEntry& entry) {
  return std::min(entry.top.size(), static_cast<size_t>(std::max(style.top, 0)));
}

// {token:logprob}. Different tokens can have the same text (halves of characters); the likelier one
// is kept, since a key may occur once only.
void append_top_map(std::string* out, const LogprobsStyle& style, const LogprobEntry& entry) {
  if (!entry.logprob.has_value()) {
    out->append("null");
    return;
  }
  std::vector<std::string> keys;
  const auto append_pair = [&](int32_t token, float logprob) {
    std::string key = token_text(style, token);
    if (std::find(keys.begin(), keys.end(), key) != keys.end()) return;
    out->append(keys.empty() ? "" : ",");
    append_json_string(out, key);
    out->push_back(':');
    append_json_logprob(out, logprob);
    keys.push_back(std::move(key));
  };
  out->push_back('{');
  bool has_own = false;
  for (size_t i = 0; i < shown_alternatives(style, entry); ++i) {
    append_pair(entry.top[i].token, entry.top[i].logprob);
    has_own = has_own || entry.top[i].token == entry.token;
  }
  if (!has_own) append_pair(entry.token, *entry.logprob);
  out->push_back('}');
}

// {"token",…,"top_logprobs":[…]}
void append_chat_entry(std::string* out, const LogprobsStyle& style, const LogprobEntry& entry) {
  append_chat_token(out, style, entry.token, entry.logprob);
  out->append(",\"top_logprobs\":[");
  for (size_t i = 0; i < shown_alternatives(style, entry); ++i) {
    if (i != 0) out->push_back(',');
    append_chat_token(out, style, entry.top[i].token, entry.top[i].logprob);
    out->push_back('}');
  }
  out->append("]}");
}

enum CompletionPart : size_t { kTokens, kTokenLogprobs, kTopLogprobs, kTextOffset };
constexpr std::array kCompletionParts = {"tokens", "token_logprobs", "top_logprobs", "text_offset"};

}  // namespace

void LogprobsFormat::begin_part(std::string* out, size_t part) const {
  out->append(part == 0 ? "{\"" : ",\"");
  out->append(chat_ ? "content" : kCompletionParts[part]).append("\":[");
}

void LogprobsFormat::append_entry(std::string* out, size_t part, const LogprobEntry& entry) const {
  if (chat_) return append_chat_entry(out, style_, entry);
  switch (part) {
    case kTokens:
      return append_json_string(out, token_text(style_, entry.token));
    case kTokenLogprobs:
      return append_optional_logprob(out, entry.logprob);
    case kTopLogprobs:
      return append_top_map(out, style_, entry);
    case kTextOffset:
      return append_json_int(out, entry.text_offset);
  }
}

void LogprobsFormat::end_part(std::string* out, size_t part) const {
  out->push_back(']');
  if (part + 1 == parts()) out->append(chat_ ? ",\"refusal\":null}" : "}");
}

void LogprobsFormat::append(std::string* out, std::span<const LogprobEntry> entries) const {
  for (size_t part = 0; part < parts(); ++part) {
    begin_part(out, part);
    for (size_t i = 0; i < entries.size(); ++i) {
      if (i != 0) out->push_back(',');
      append_entry(out, part, entries[i]);
    }
    end_part(out, part);
  }
}

}  // namespace conclave::coordinator
