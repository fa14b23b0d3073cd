#include "coordinator/openai/field_reader.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "coordinator/http/json_text.h"

namespace conclave::coordinator {
namespace {

constexpr size_t kMaxUnknownNames = 64;  // enough to log

std::string number_text(double value) {
  std::string text;
  append_json_double(&text, value);
  if (text.ends_with(".0")) text.resize(text.size() - 2);
  return text;
}

// As int64; unsigned values beyond it saturate, so that the range check refuses them.
std::optional<int64_t> as_integer(const Json& value) {
  if (value.is_number_unsigned()) {
    const uint64_t number = value.get<uint64_t>();
    constexpr auto kMax = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
    return static_cast<int64_t>(std::min(number, kMax));
  }
  if (value.is_number_integer()) return value.get<int64_t>();
  return std::nullopt;
}

}  // namespace

FieldReader::FieldReader(const Json& object, std::string path)
    : object_(object), path_(std::move(path)) {}

std::string FieldReader::param(std::string_view name) const {
  return path_.empty() ? std::string(name) : path_ + "." + std::string(name);
}

void FieldReader::fail(std::string param, std::string message, std::string code) {
  if (!error_.has_value())
    error_ = bad_request(std::move(message), std::move(param), std::move(code));
}

void FieldReader::fail_type(std::string_view name, std::string_view expected) {
  fail(param(name), "'" + param(name) + "' must be " + std::string(expected) + ".", "invalid_type");
}

const Json* FieldReader::find(std::string_view name) {
  if (error_.has_value()) return nullptr;
  const auto found = object_.find(name);
  if (found == object_.end() || found->is_null()) return nullptr;
  return &*found;
}

std::optional<bool> FieldReader::boolean(std::string_view name) {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (value->is_boolean()) return value->get<bool>();
  fail_type(name, "true or false");
  return std::nullopt;
}

std::optional<double> FieldReader::number(std::string_view name, NumberRange range) {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) {
    fail_type(name, "a number");
    return std::nullopt;
  }
  const double number = value->get<double>();
  const bool above = range.low_excluded ? number > range.low : number >= range.low;
  if (above && number <= range.high) return number;
  fail(param(name),
       "'" + param(name) + "' must be " + (range.low_excluded ? "greater than " : "at least ") +
           number_text(range.low) + " and at most " + number_text(range.high) + ", not " +
           number_text(number) + ".",
       "invalid_value");
  return std::nullopt;
}

std::optional<int64_t> FieldReader::integer(std::string_view name, int64_t low, int64_t high) {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  const std::optional<int64_t> number = as_integer(*value);
  if (!number.has_value()) {
    fail_type(name, "an integer");
    return std::nullopt;
  }
  if (*number >= low && *number <= high) return number;
  fail(param(name),
       "'" + param(name) + "' must be at least " + std::to_string(low) + " and at most " +
           std::to_string(high) + ", not " + std::to_string(*number) + ".",
       "invalid_value");
  return std::nullopt;
}

std::optional<std::string> FieldReader::string(std::string_view name) {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (value->is_string()) return value->get<std::string>();
  fail_type(name, "a string");
  return std::nullopt;
}

std::optional<std::vector<int32_t>> FieldReader::token_ids(std::string_view name) {
  const Json* value = find(name);
  if (value == nullptr) return std::nullopt;
  int64_t bad_index = -1;
  auto ids = read_token_ids(*value, &bad_index);
  if (ids.has_value()) return ids;
  if (bad_index < 0) {
    fail_type(name, "an array of token ids");
  } else {
    const std::string where = param(name) + "[" + std::to_string(bad_index) + "]";
    fail(where, "'" + where + "' must be a token id, an integer of 0 or more.", "invalid_type");
  }
  return std::nullopt;
}

void FieldReader::check_names(Endpoint endpoint) {
  for (const auto& member : *object_.get_ptr<const Json::object_t*>()) {
    const std::string name = param(member.first);
    const RequestFields* row = find_request_field(endpoint, name);
    if (row == nullptr) {
      if (unknown_.size() < kMaxUnknownNames) unknown_.push_back(name);
    } else if (asks_for_refused(*row, member.second)) {
      fail(name, refusal(*row, name), refusal_code(*row));
    }
  }
}

std::optional<std::vector<int32_t>> read_token_ids(const Json& value, int64_t* bad_index) {
  *bad_index = -1;
  if (!value.is_array()) return std::nullopt;
  std::vector<int32_t> ids;
  ids.reserve(value.size());
  for (const Json& element : value) {
    const std::optional<int64_t> id = as_integer(element);
    if (!id.has_value() || *id < 0 || *id > std::numeric_limits<int32_t>::max()) {
      *bad_index = static_cast<int64_t>(ids.size());
      return std::nullopt;
    }
    ids.push_back(static_cast<int32_t>(*id));
  }
  return ids;
}

}  // namespace conclave::coordinator
