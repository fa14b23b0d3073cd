#include "coordinator/tokenizer/settings_fields.h"

#include <algorithm>
#include <utility>

#include "base/status_macros.h"

namespace conclave::coordinator {
namespace {

constexpr std::string_view kNamedTokens = "extra_special_tokens";

// The keys of the outermost object and of its field kNamedTokens, as they are written.
struct KeyOrder {
  std::vector<std::string> outer;
  std::vector<std::string> named;
};

KeyOrder key_order(std::string_view text) {
  KeyOrder order;
  const auto note = [&order](int depth, Json::parse_event_t event, Json& parsed) {
    if (event != Json::parse_event_t::key) return true;
    if (depth == 1) order.outer.push_back(parsed.get<std::string>());
    if (depth == 2 && order.outer.back() == kNamedTokens) {
      order.named.push_back(parsed.get<std::string>());
    }
    return true;
  };
  const Json whole = Json::parse(text.begin(), text.end(), note, /*allow_exceptions=*/false);
  return whole.is_discarded() ? KeyOrder() : order;
}

}  // namespace

absl::StatusOr<SettingsFields> SettingsFields::parse(std::string_view text,
                                                     const std::string& file) {
  ASSIGN_OR_RETURN(Json object, parse_json_object(text, file));
  SettingsFields out;
  KeyOrder order = key_order(text);
  for (std::string& key : order.outer) {
    const auto it = object.find(key);
    if (it == object.end()) continue;  // a second time
    out.fields_.push_back({std::move(key), std::move(*it), file});
    object.erase(it);
  }
  out.named_order_ = std::move(order.named);
  return out;
}

const SettingsField* SettingsFields::find(std::string_view key) const {
  const auto it = std::find_if(fields_.begin(), fields_.end(),
                               [key](const SettingsField& field) { return field.key == key; });
  return it == fields_.end() ? nullptr : &*it;
}

bool SettingsFields::filled(std::string_view key) const {
  const SettingsField* field = find(key);
  if (field == nullptr) return false;
  const Json& value = field->value;
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_number()) return value.get<double>() != 0;
  if (value.is_string()) return !value.get_ref<const std::string&>().empty();
  return !value.empty();
}

void SettingsFields::set(SettingsField field) {
  const auto it =
      std::find_if(fields_.begin(), fields_.end(),
                   [&field](const SettingsField& known) { return known.key == field.key; });
  if (it == fields_.end()) {
    fields_.push_back(std::move(field));
  } else {
    *it = std::move(field);
  }
}

void SettingsFields::erase(std::string_view key) {
  std::erase_if(fields_, [key](const SettingsField& field) { return field.key == key; });
}

void SettingsFields::rename(std::string_view from, const std::string& to) {
  const SettingsField* field = find(from);
  if (field == nullptr) return;
  SettingsField renamed{to, field->value, field->file};
  erase(from);
  set(std::move(renamed));
}

std::vector<SettingsField> SettingsFields::take_object(std::string_view key) {
  std::vector<SettingsField> out;
  const SettingsField* field = find(key);
  if (field == nullptr || !field->value.is_object()) return out;
  SettingsField object = *field;
  erase(key);
  for (const std::string& name : named_order_) {
    const auto it = object.value.find(name);
    if (it == object.value.end()) continue;
    out.push_back({name, std::move(*it), object.file});
    object.value.erase(it);
  }
  for (auto& [name, value] : object.value.items()) out.push_back({name, value, object.file});
  return out;
}

}  // namespace conclave::coordinator
