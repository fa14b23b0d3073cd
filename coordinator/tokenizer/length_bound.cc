#include "coordinator/tokenizer/length_bound.h"

#include <algorithm>
#include <string>

#include "coordinator/tokenizer/unicode.h"

namespace conclave::coordinator {
namespace {

std::string text_of(const Json& json, const char* key) {
  const auto it = json.is_object() ? json.find(key) : json.end();
  return it != json.end() && it->is_string() ? it->get<std::string>() : std::string();
}

const Json& member(const Json& json, const char* key) {
  static const Json kNull;
  const auto it = json.is_object() ? json.find(key) : json.end();
  return it == json.end() ? kNull : *it;
}

bool has_byte_level(const Json& json, const char* steps) {
  if (text_of(json, "type") == "ByteLevel") return true;
  const Json& list = member(json, steps);
  return std::any_of(list.begin(), list.end(),
                     [steps](const Json& step) { return has_byte_level(step, steps); });
}

// How many characters the normalizer may make one of; 0: any number.
size_t shrinks_by(const Json& json) {
  if (json.is_null()) return 1;
  const std::string type = text_of(json, "type");
  // No character decomposes into more than four (Unicode Standard Annex 15), so composing makes one
  // of four at most.
  if (type == "NFC" || type == "NFKC") return 4;
  for (const char* grows : {"NFD", "NFKD", "Lowercase", "ByteLevel", "Prepend"}) {
    if (type == grows) return 1;
  }
  if (type == "Replace") {
    const size_t from = count_characters(text_of(member(json, "pattern"), "String"));
    const size_t to = count_characters(text_of(json, "content"));
    return from == 0 || to == 0 ? 0 : (from + to - 1) / to;
  }
  if (type != "Sequence") return 0;
  size_t factor = 1;
  for (const Json& step : member(json, "normalizers")) factor *= shrinks_by(step);
  return factor;
}

bool keeps_text(const Json& json) {
  if (json.is_null()) return true;
  const std::string type = text_of(json, "type");
  if (type == "ByteLevel" || type == "Metaspace" || type == "Digits") return true;
  if (type == "Split" || type == "Punctuation") return text_of(json, "behavior") != "Removed";
  if (type != "Sequence") return false;
  const Json& steps = member(json, "pretokenizers");
  return std::all_of(steps.begin(), steps.end(), keeps_text);
}

}  // namespace

size_t count_characters(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return !is_continuation_byte(c); }));
}

size_t most_characters_a_token(const Json& file, const BpeModel& model, const AddedTokens& added) {
  const Json& normalizer = member(file, "normalizer");
  const Json& pre_tokenizer = member(file, "pre_tokenizer");
  const bool byte_level =
      has_byte_level(normalizer, "normalizers") || has_byte_level(pre_tokenizer, "pretokenizers");
  if (!keeps_text(pre_tokenizer) || added.swallows_white_space() ||
      !model.has_symbol_for_any_character(byte_level)) {
    return 0;
  }
  return shrinks_by(normalizer) * std::max(model.longest_token_chars(), added.longest_chars());
}

}  // namespace conclave::coordinator
