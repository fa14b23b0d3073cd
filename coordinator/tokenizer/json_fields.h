#ifndef CONCLAVE_COORDINATOR_TOKENIZER_JSON_FIELDS_H_
#define CONCLAVE_COORDINATOR_TOKENIZER_JSON_FIELDS_H_

// Reading fields of untrusted tokenizer files: a wrong type is one sentence that names the place.
// In every function `where` names the object ("x/tokenizer.json: decoder"); an absent or null field
// gives the fallback, a field of another type INVALID_ARGUMENT.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace conclave::coordinator {

using Json = nlohmann::json;

// A JSON object. INVALID_ARGUMENT if the text is no JSON, no object, or nested deeper than 64
// levels.
absl::StatusOr<Json> parse_json_object(std::string_view text, const std::string& where);

absl::StatusOr<bool> bool_field(const Json& object, const char* key, bool fallback,
                                const std::string& where);
absl::StatusOr<std::string> string_field(const Json& object, const char* key,
                                         std::string_view fallback, const std::string& where);
absl::StatusOr<int64_t> int_field(const Json& object, const char* key, int64_t fallback,
                                  const std::string& where);
// The field as an array, or nullptr if absent or null.
absl::StatusOr<const Json*> array_field(const Json& object, const char* key,
                                        const std::string& where);
// The string in "type"; INVALID_ARGUMENT if there is none.
absl::StatusOr<std::string> type_of(const Json& object, const std::string& where);
// A field that must hold exactly one character.
absl::StatusOr<char32_t> char_field(const Json& object, const char* key, char32_t fallback,
                                    const std::string& where);

// At most 80 bytes of untrusted text, quoted for a message, cut at a character.
std::string in_quotes(std::string_view text);
absl::Status bad_file(const std::string& where, const std::string& what);

// A file may chain steps under `list`; ByteLevel turns each byte of a text into a character of up to two bytes, so that
// a chain of them would grow texts without end. INVALID_ARGUMENT if there are more than four.
absl::Status check_byte_levels(const Json& json, const char* list, const std::string& where);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_TOKENIZER_JSON_FIELDS_H_
