#include "model/json_fields.h"

#include <cmath>
#include <set>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace conclave::model {
namespace {

using nlohmann::json;

absl::string_view view(std::string_view text) { return {text.data(), text.size()}; }

// First pass over the text: syntax, depth and repeated keys, which the DOM would silently
// overwrite.
class StrictHandler : public nlohmann::json_sax<json> {
 public:
  StrictHandler(int max_depth, RepeatedKeys repeated)
      : max_depth_(max_depth), repeated_(repeated) {}
  const std::string& problem() const { return problem_; }

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(std::size_t) override { return enter(); }
  bool start_array(std::size_t) override { return enter(); }
  bool end_object() override { return leave(); }
  bool end_array() override { return leave(); }
  bool key(string_t& name) override {
    if (keys_.back().insert(name).second) return true;
    if (keys_.size() == 1 && repeated_ == RepeatedKeys::kLastTop) return true;
    problem_ = absl::StrCat("the key ", printable(name), " is given twice");
    return false;
  }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    problem_ = absl::StrCat("not valid JSON at byte ", position);
    return false;
  }

 private:
  bool enter() {
    keys_.emplace_back();
    if (static_cast<int>(keys_.size()) <= max_depth_) return true;
    problem_ = absl::StrCat("JSON nested deeper than ", max_depth_, " levels");
    return false;
  }
  bool leave() {
    keys_.pop_back();
    return true;
  }

  int max_depth_;
  RepeatedKeys repeated_;
  std::vector<std::set<std::string>> keys_;
  std::string problem_;
};

}  // namespace

std::string printable(std::string_view text) {
  constexpr size_t kLongest = 120;
  std::string out = absl::StrCat(
      "\"", absl::Utf8SafeCHexEscape(view(text.substr(0, std::min(text.size(), kLongest)))));
  absl::StrAppend(&out, text.size() > kLongest ? "...\"" : "\"");
  return out;
}

std::string printable_json(const json& value) {
  if (value.is_string()) return printable(value.get_ref<const std::string&>());
  if (value.is_number_float() && !std::isfinite(value.get<double>())) {
    return std::isnan(value.get<double>()) ? "not a number" : "infinite";
  }
  std::string out = value.dump(-1, ' ', false, json::error_handler_t::replace);
  constexpr size_t kLongest = 60;
  if (out.size() > kLongest) out = absl::StrCat(out.substr(0, kLongest), "...");
  return out;
}

absl::Status parse_json_object(std::string_view text, std::string_view source, int max_depth,
                               json* out, RepeatedKeys repeated) {
  StrictHandler handler(max_depth, repeated);
  if (!json::sax_parse(text.begin(), text.end(), &handler)) {
    return absl::InvalidArgumentError(absl::StrCat(view(source), ": ", handler.problem()));
  }
  *out = json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (!out->is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat(view(source), ": expected a JSON object, found ", printable_json(*out)));
  }
  return absl::OkStatus();
}

void decode_float_tags(json* value) {
  if (value->is_object() && value->size() == 1 && value->begin().key() == "__float__" &&
      value->begin().value().is_string()) {
    const std::string tag = value->begin().value().get<std::string>();
    if (tag == "Infinity") *value = HUGE_VAL;
    if (tag == "-Infinity") *value = -HUGE_VAL;
    if (tag == "NaN") *value = std::nan("");
    return;
  }
  if (!value->is_structured()) return;
  for (json& item : *value) decode_float_tags(&item);
}

const json* JsonFields::find(const char* key) const {
  const auto it = object_->find(key);
  return it == object_->end() || it->is_null() ? nullptr : &*it;
}

std::string JsonFields::where(const char* key) const {
  return absl::StrCat(source_, ": \"", prefix_, key, "\"");
}

void JsonFields::fail(absl::Status status) {
  if (status_.ok()) status_ = std::move(status);
}

void JsonFields::expected(const char* key, std::string_view what) {
  const json* value = find(key);
  fail(absl::InvalidArgumentError(
      absl::StrCat(where(key), value == nullptr ? " is missing" : " is ",
                   value == nullptr ? "" : printable_json(*value), ", expected ", view(what))));
}

int32_t JsonFields::integer(const char* key, int32_t fallback, int32_t lowest, int32_t highest) {
  const json* value = find(key);
  if (value == nullptr) return fallback;
  const bool fits_signed = value->is_number_integer() && !value->is_number_unsigned();
  const bool fits = fits_signed || (value->is_number_unsigned() &&
                                    value->get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX));
  const int64_t number = fits ? value->get<int64_t>() : int64_t{0};
  if (!fits || number < lowest || number > highest) {
    expected(key, absl::StrCat("an integer from ", lowest, " to ", highest));
    return fallback;
  }
  return static_cast<int32_t>(number);
}

double JsonFields::number(const char* key, double fallback, double lowest, double highest) {
  const json* value = find(key);
  if (value == nullptr) return fallback;
  const double number = value->is_number() ? value->get<double>() : std::nan("");
  if (!(number >= lowest && number <= highest)) {
    expected(key, absl::StrCat("a number from ", lowest, " to ", highest));
    return fallback;
  }
  return number;
}

bool JsonFields::boolean(const char* key, bool fallback) {
  const json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) {
    expected(key, "true or false");
    return fallback;
  }
  return value->get<bool>();
}

std::string JsonFields::text(const char* key, const std::string& fallback) {
  const json* value = find(key);
  if (value == nullptr) return fallback;
  if (!value->is_string()) {
    expected(key, "a string");
    return fallback;
  }
  return value->get<std::string>();
}

const json* JsonFields::object(const char* key) {
  const json* value = find(key);
  if (value == nullptr || value->is_object()) return value;
  expected(key, "an object or null");
  return nullptr;
}

std::vector<int32_t> JsonFields::token_ids(const char* key, std::vector<int32_t> fallback) {
  const json* value = find(key);
  if (value == nullptr) return fallback;
  const json list = value->is_array() ? *value : json::array({*value});
  std::vector<int32_t> out;
  for (const json& item : list) {
    if (!item.is_number_integer()) {
      expected(key, "a token id or a list of them");
      return {};
    }
    const bool fits = item.is_number_unsigned() && item.get<uint64_t>() <= uint64_t{INT32_MAX};
    out.push_back(fits ? item.get<int32_t>() : -1);
  }
  return out;
}

std::vector<int32_t> JsonFields::integer_list(const char* key) {
  const json* value = find(key);
  std::vector<int32_t> out;
  if (value == nullptr) return out;
  bool good = value->is_array();
  for (size_t i = 0; good && i < value->size(); ++i) {
    const json& item = (*value)[i];
    good = item.is_number_unsigned() && item.get<uint64_t>() <= static_cast<uint64_t>(INT32_MAX);
    if (good) out.push_back(item.get<int32_t>());
  }
  if (!good) expected(key, "a list of integers, each 0 or more");
  return out;
}

std::vector<std::string> JsonFields::text_list(const char* key) {
  const json* value = find(key);
  std::vector<std::string> out;
  if (value == nullptr) return out;
  bool good = value->is_array();
  for (size_t i = 0; good && i < value->size(); ++i) {
    good = (*value)[i].is_string();
    if (good) out.push_back((*value)[i].get<std::string>());
  }
  if (!good) expected(key, "a list of strings");
  return out;
}

std::vector<double> JsonFields::number_list(const char* key, double lowest, double highest) {
  const json* value = find(key);
  std::vector<double> out;
  if (value == nullptr) return out;
  bool good = value->is_array();
  for (size_t i = 0; good && i < value->size(); ++i) {
    const json& item = (*value)[i];
    const double number = item.is_number() ? item.get<double>() : std::nan("");
    good = number >= lowest && number <= highest;
    if (good) out.push_back(number);
  }
  if (!good) expected(key, absl::StrCat("a list of numbers from ", lowest, " to ", highest));
  return out;
}

}  // namespace conclave::model
