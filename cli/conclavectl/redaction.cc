#include "cli/conclavectl/redaction.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "absl/strings/str_replace.h"

namespace conclave::ctl {
namespace {

constexpr std::string_view kPlaceholder = "(set)";
// A shorter value stands in too many texts by chance.
constexpr size_t kShortestSecret = 4;
// Behind these a secret follows, as one word. The last is how common API keys begin.
constexpr std::array<std::string_view, 3> kBefore = {"Bearer ", "-key-file ", "--secret-file "};
constexpr std::string_view kKeyPrefix = "sk-";
constexpr size_t kShortestKey = 12;

bool ends_word(char c) {
  return std::isspace(static_cast<unsigned char>(c)) != 0 || c == '"' || c == '\'' || c == '\\' ||
         c == ',';
}

size_t word_end(std::string_view text, size_t at) {
  while (at < text.size() && !ends_word(text[at])) ++at;
  return at;
}

void hide_behind(std::string_view marker, std::string* text) {
  for (size_t at = text->find(marker); at != std::string::npos; at = text->find(marker, at)) {
    at += marker.size();
    const size_t end = word_end(*text, at);
    if (end > at) text->replace(at, end - at, kPlaceholder);
  }
}

void hide_keys(std::string* text) {
  for (size_t at = text->find(kKeyPrefix); at != std::string::npos;
       at = text->find(kKeyPrefix, at + 1)) {
    const bool begins =
        at == 0 ||
        (std::isalnum(static_cast<unsigned char>((*text)[at - 1])) == 0 && (*text)[at - 1] != '-');
    const size_t end = word_end(*text, at);
    if (begins && end - at >= kShortestKey) text->replace(at, end - at, kPlaceholder);
  }
}

}  // namespace

bool is_sensitive_setting(std::string_view name) {
  const auto has = [name](const char* word) { return name.find(word) != std::string_view::npos; };
  return (has("key") || has("secret") || has("token")) && !has("tokens");
}

Redaction::Redaction(const Json& settings, const std::string& own_key) {
  if (own_key.size() >= kShortestSecret) secrets_.push_back(own_key);
  if (settings.is_object()) {
    for (const auto& [name, value] : settings.items()) {
      if (!is_sensitive_setting(name) || !value.is_string()) continue;
      if (value.get_ref<const std::string&>().size() >= kShortestSecret)
        secrets_.push_back(value.get<std::string>());
    }
  }
  std::sort(secrets_.begin(), secrets_.end(),
            [](const auto& a, const auto& b) { return a.size() > b.size(); });
}

std::string Redaction::clean(std::string text) const {
  for (const std::string& secret : secrets_) {
    absl::StrReplaceAll({{secret, std::string(kPlaceholder)}}, &text);
  }
  for (const std::string_view marker : kBefore) hide_behind(marker, &text);
  hide_keys(&text);
  return text;
}

}  // namespace conclave::ctl
