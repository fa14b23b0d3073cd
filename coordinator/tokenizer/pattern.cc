#include "coordinator/tokenizer/pattern.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/tokenizer/unicode.h"

namespace conclave::coordinator {

absl::StatusOr<Pattern> Pattern::from_regex(std::string_view regex, const std::string& where) {
  absl::StatusOr<std::shared_ptr<const Regex>> compiled = Regex::compile(regex);
  if (!compiled.ok()) return bad_file(where, std::string(compiled.status().message()));
  Pattern pattern;
  pattern.regex_ = std::move(compiled).value();
  return pattern;
}

Pattern Pattern::from_literal(std::string literal) {
  Pattern pattern;
  pattern.literal_ = std::move(literal);
  return pattern;
}

absl::StatusOr<Pattern> Pattern::from_json(const Json& json, const std::string& where) {
  const auto field = json.find("pattern");
  if (field == json.end() || !field->is_object() || field->size() != 1) {
    return bad_file(where, "\"pattern\" must be {\"String\": ..} or {\"Regex\": ..}");
  }
  const std::string kind = field->begin().key();
  if (kind != "String" && kind != "Regex") {
    return bad_file(where,
                    absl::StrCat("a pattern is \"String\" or \"Regex\", not ", in_quotes(kind)));
  }
  ASSIGN_OR_RETURN(std::string text, string_field(*field, kind.c_str(), "", where));
  if (kind == "String") return from_literal(std::move(text));
  return from_regex(text, where);
}

void Pattern::find_literal(std::string_view text, std::vector<TextRange>& matches) const {
  if (literal_.empty()) {
    for (size_t at = 0; at < text.size(); at += char_bytes(text[at])) matches.push_back({at, at});
    matches.push_back({text.size(), text.size()});
    return;
  }
  for (size_t at = text.find(literal_); at != std::string_view::npos;
       at = text.find(literal_, at + literal_.size())) {
    matches.push_back({at, at + literal_.size()});
  }
}

void Pattern::cut(std::string_view text, std::vector<Stretch>& stretches) const {
  if (text.empty()) {
    stretches.push_back({{0, 0}, false});
    return;
  }
  std::vector<TextRange> matches;
  if (is_literal()) {
    find_literal(text, matches);
  } else {
    regex_->find_all(text, matches);  // over the limit: the rest of the text has no match
  }
  size_t done = 0;
  for (const TextRange& match : matches) {
    if (done != match.begin) stretches.push_back({{done, match.begin}, false});
    stretches.push_back({match, true});
    done = match.end;
  }
  if (done != text.size()) stretches.push_back({{done, text.size()}, false});
}

std::string Pattern::replace_all(std::string_view text, std::string_view content,
                                 size_t limit) const {
  std::vector<Stretch> stretches;
  cut(text, stretches);
  std::string out;
  out.reserve(text.size());
  size_t final_size = text.size();  // if nothing more is replaced
  for (const Stretch& stretch : stretches) {
    const size_t old_size = stretch.range.end - stretch.range.begin;
    const size_t new_size = final_size - old_size + content.size();
    if (stretch.is_match && (new_size <= limit || new_size <= final_size)) {
      out += content;
      final_size = new_size;
    } else {
      out += text.substr(stretch.range.begin, old_size);
    }
  }
  return out;
}

}  // namespace conclave::coordinator
