#include "coordinator/tokenizer/json_fields.h"

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/tokenizer/unicode.h"

namespace conclave::coordinator {
namespace {

constexpr int kMaxDepth = 64;

bool nested_too_deep(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kMaxDepth) return true;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return false;
}

const Json* find(const Json& object, const char* key) {
  const auto it = object.find(key);
  if (it == object.end() || it->is_null()) return nullptr;
  return &*it;
}

absl::Status wrong_type(const std::string& where, const char* key, const char* expected,
                        const Json& found) {
  return bad_file(where,
                  absl::StrCat("\"", key, "\" must be ", expected, ", not ", found.type_name()));
}

}  // namespace

absl::Status bad_file(const std::string& where, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(where, ": ", what));
}

std::string in_quotes(std::string_view text) {
  constexpr size_t kMaxBytes = 80;
  if (text.size() <= kMaxBytes) return absl::StrCat("\"", std::string(text), "\"");
  size_t end = kMaxBytes;
  while (end > 0 && is_continuation_byte(text[end])) --end;
  return absl::StrCat("\"", std::string(text.substr(0, end)), "...\"");
}

absl::StatusOr<Json> parse_json_object(std::string_view text, const std::string& where) {
  if (nested_too_deep(text)) {
    return bad_file(where, absl::StrCat("nested deeper than ", kMaxDepth, " levels"));
  }
  Json json = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) {
    return bad_file(where, "not valid JSON; the file may be cut short, fetch it again");
  }
  if (!json.is_object()) {
    return bad_file(where, absl::StrCat("must be a JSON object, not ", json.type_name()));
  }
  return json;
}

absl::StatusOr<bool> bool_field(const Json& object, const char* key, bool fallback,
                                const std::string& where) {
  const Json* field = find(object, key);
  if (field == nullptr) return fallback;
  if (!field->is_boolean()) return wrong_type(where, key, "true or false", *field);
  return field->get<bool>();
}

absl::StatusOr<std::string> string_field(const Json& object, const char* key,
                                         std::string_view fallback, const std::string& where) {
  const Json* field = find(object, key);
  if (field == nullptr) return std::string(fallback);
  if (!field->is_string()) return wrong_type(where, key, "a string", *field);
  return field->get<std::string>();
}

absl::StatusOr<int64_t> int_field(const Json& object, const char* key, int64_t fallback,
                                  const std::string& where) {
  const Json* field = find(object, key);
  if (field == nullptr) return fallback;
  if (!field->is_number_integer()) return wrong_type(where, key, "an integer", *field);
  if (field->is_number_unsigned() && field->get<uint64_t>() > uint64_t{INT64_MAX}) {
    return bad_file(where, absl::StrCat("\"", key, "\" is too large"));
  }
  return field->get<int64_t>();
}

absl::StatusOr<const Json*> array_field(const Json& object, const char* key,
                                        const std::string& where) {
  const Json* field = find(object, key);
  if (field == nullptr) return static_cast<const Json*>(nullptr);
  if (!field->is_array()) return wrong_type(where, key, "an array", *field);
  return field;
}

absl::StatusOr<std::string> type_of(const Json& object, const std::string& where) {
  if (!object.is_object()) {
    return bad_file(where,
                    absl::StrCat("must be an object with a \"type\", not ", object.type_name()));
  }
  ASSIGN_OR_RETURN(std::string type, string_field(object, "type", "", where));
  if (type.empty()) return bad_file(where, "has no \"type\"");
  return type;
}

absl::StatusOr<char32_t> char_field(const Json& object, const char* key, char32_t fallback,
                                    const std::string& where) {
  ASSIGN_OR_RETURN(const std::string text, string_field(object, key, "", where));
  if (text.empty()) return fallback;
  size_t at = 0;
  const char32_t c = next_char(text, at);
  if (at != text.size()) {
    return bad_file(where,
                    absl::StrCat("\"", key, "\" must be one character, not ", in_quotes(text)));
  }
  return c;
}

absl::Status check_byte_levels(const Json& json, const char* list, const std::string& where) {
  constexpr int64_t kMost = 4;
  int64_t found = 0;
  const auto count = [&found, list](const auto& self, const Json& step) -> void {
    if (!step.is_object()) return;
    const auto type = step.find("type");
    if (type != step.end() && *type == "ByteLevel") ++found;
    const auto steps = step.find(list);
    if (steps == step.end() || !steps->is_array()) return;
    for (const Json& inner : *steps) self(self, inner);
  };
  count(count, json);
  if (found <= kMost) return absl::OkStatus();
  return bad_file(where, absl::StrCat("has ", found, " ByteLevel steps; at most ", kMost, " are allowed, as each doubles the text"));
}

}  // namespace conclave::coordinator
