#ifndef CONCLAVE_COORDINATOR_TOKENIZER_SETTINGS_FIELDS_H_
#define CONCLAVE_COORDINATOR_TOKENIZER_SETTINGS_FIELDS_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/tokenizer/json_fields.h"

namespace conclave::coordinator {

// One field of a settings file.
struct SettingsField {
  std::string key;
  Json value;
  std::string file;  // that it comes from, for errors
};

// The fields of a JSON object in the file's order, which decides the ids of tokens that are new.
class SettingsFields {
 public:
  SettingsFields() = default;
  // INVALID_ARGUMENT if the text is no JSON object. file names it in errors.
  static absl::StatusOr<SettingsFields> parse(std::string_view text, const std::string& file);

  const SettingsField* find(std::string_view key) const;  // null values count
  bool has(std::string_view key) const { return find(key) != nullptr; }
  // Whether the field is there and neither null, false, 0 nor empty.
  bool filled(std::string_view key) const;
  // In the place of the field of that key, or behind all others.
  void set(SettingsField field);
  void erase(std::string_view key);
  // `to` gets the value of `from`, which is no longer there.
  void rename(std::string_view from, const std::string& to);
  // The fields of the object `key`, in order; the field itself goes.
  std::vector<SettingsField> take_object(std::string_view key);
  const std::vector<SettingsField>& all() const { return fields_; }

 private:
  std::vector<SettingsField> fields_;
  std::vector<std::string> named_order_;  // the keys inside "extra_special_tokens"
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_TOKENIZER_SETTINGS_FIELDS_H_
