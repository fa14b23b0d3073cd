#ifndef CONCLAVE_MODEL_JSON_FIELDS_H_
#define CONCLAVE_MODEL_JSON_FIELDS_H_

// JSON files that come from elsewhere: a parser that refuses what a DOM would quietly accept, and
// typed reads whose errors say file, key, expected and found. Internal to model/.

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace conclave::model {

// What a key given twice means; kLastTop: in the outermost object the last one counts.
enum class RepeatedKeys : uint8_t { kRefused, kLastTop };

// Parses text into *out. INVALID_ARGUMENT for anything but one JSON object: bad syntax or UTF-8, a
// key given twice in one object, nesting deeper than max_depth. Never throws. source names the
// file.
absl::Status parse_json_object(std::string_view text, std::string_view source, int max_depth,
                               nlohmann::json* out, RepeatedKeys repeated = RepeatedKeys::kRefused);

// {"__float__": "Infinity"}, "-Infinity" or "NaN", as transformers 5 writes such numbers, become
// these numbers, anywhere in the value.
void decode_float_tags(nlohmann::json* value);

// A value or a name of a file, short and printable, for use inside an error sentence.
std::string printable(std::string_view text);
std::string printable_json(const nlohmann::json& value);

// Reads fields of one object. The first error sticks and later reads return their fallback, so that
// a caller reads all fields and looks at status() once. A key that is missing or null has its
// fallback.
class JsonFields {
 public:
  // prefix: path of the object in its file, "" or for example "rope_parameters.".
  JsonFields(const nlohmann::json* object, std::string_view source, std::string prefix = "")
      : object_(object), source_(source), prefix_(std::move(prefix)) {}

  bool has(const char* key) const { return find(key) != nullptr; }
  bool given(const char* key) const { return object_->contains(key); }  // null included
  const nlohmann::json* find(const char* key) const;  // nullptr if missing or null
  int32_t integer(const char* key, int32_t fallback, int32_t lowest, int32_t highest);
  // Numbers in [lowest, highest]; integers are accepted as numbers.
  double number(const char* key, double fallback, double lowest, double highest);
  bool boolean(const char* key, bool fallback);
  std::string text(const char* key, const std::string& fallback);
  const nlohmann::json* object(const char* key);  // nullptr if missing or null
  // One integer or a list of them, of any size: what is no token (negative, too large) is -1.
  std::vector<int32_t> token_ids(const char* key, std::vector<int32_t> fallback);
  std::vector<int32_t> integer_list(const char* key);
  std::vector<std::string> text_list(const char* key);
  std::vector<double> number_list(const char* key, double lowest, double highest);

  // "FILE: KEY is FOUND, expected EXPECTED"; the first call wins.
  void expected(const char* key, std::string_view what);
  void fail(absl::Status status);
  const absl::Status& status() const { return status_; }
  std::string where(const char* key) const;  // FILE: "prefix.key"

 private:
  const nlohmann::json* object_;
  std::string source_;
  std::string prefix_;
  absl::Status status_;
};

}  // namespace conclave::model

#endif  // CONCLAVE_MODEL_JSON_FIELDS_H_
