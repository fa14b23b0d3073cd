#include "coordinator/openai/request_fields.h"

#include <algorithm>
#include <map>
#include <utility>

namespace conclave::coordinator {
namespace {

struct NamedRow {
  std::string_view name;  // without the star
  const RequestFields* row;
};

struct Index {
  std::multimap<std::string_view, const RequestFields*> exact;
  std::vector<NamedRow> prefixes;
};

template <typename F>
void for_each_name(std::string_view names, F f) {
  while (!names.empty()) {
    const size_t end = names.find(' ');
    f(names.substr(0, end));
    names = end == std::string_view::npos ? std::string_view() : names.substr(end + 1);
  }
}

Index make_index() {
  Index index;
  for (const RequestFields& row : request_fields()) {
    for_each_name(row.names, [&](std::string_view name) {
      if (name.ends_with('*')) {
        index.prefixes.push_back({name.substr(0, name.size() - 1), &row});
      } else {
        index.exact.emplace(name, &row);
      }
    });
  }
  return index;
}

bool is_at(const RequestFields& row, Endpoint endpoint) {
  return (row.endpoints & static_cast<EndpointSet>(endpoint)) != 0;
}

Json neutral_values(const RequestFields& row) {
  return row.neutral.empty() ? Json::array() : Json::parse(row.neutral);
}

// Values of its own, not only empty ones, let a field pass.
bool has_other_values(const Json& neutral) {
  return std::any_of(neutral.begin(), neutral.end(), [](const Json& value) {
    return value.is_primitive() ? value != "" && value != false : !value.empty();
  });
}

}  // namespace

const RequestFields* find_request_field(Endpoint endpoint, std::string_view name) {
  static const Index index = make_index();
  const auto [begin, end] = index.exact.equal_range(name);
  for (auto it = begin; it != end; ++it) {
    if (is_at(*it->second, endpoint)) return it->second;
  }
  for (const NamedRow& prefix : index.prefixes) {
    if (name.starts_with(prefix.name) && is_at(*prefix.row, endpoint)) return prefix.row;
  }
  return nullptr;
}

bool asks_for_refused(const RequestFields& row, const Json& value) {
  if (row.use != FieldUse::kRefused || value.is_null()) return false;
  const Json neutral = neutral_values(row);
  return std::find(neutral.begin(), neutral.end(), value) == neutral.end();
}

std::string refusal(const RequestFields& row, std::string_view name) {
  const std::string subject = "'" + std::string(name) + "'";
  const Json neutral = neutral_values(row);
  if (!has_other_values(neutral)) {
    return subject + " is not supported by this server: " + std::string(row.note) + ".";
  }
  std::string values;
  for (const Json& value : neutral) values += (values.empty() ? "" : ", ") + value.dump();
  return subject + " must be " + values + " or left out: " + std::string(row.note) + ".";
}

const char* refusal_code(const RequestFields& row) {
  return has_other_values(neutral_values(row)) ? "unsupported_value" : "unsupported_parameter";
}

}  // namespace conclave::coordinator
