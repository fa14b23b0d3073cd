#include "cli/conclavectl/output.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/file.h"
#include "base/status_macros.h"

namespace conclave::ctl {
namespace {

bool use_colour() {
  const char* no_colour = std::getenv("NO_COLOR");
  return ::isatty(STDOUT_FILENO) == 1 && (no_colour == nullptr || *no_colour == '\0');
}

bool looks_numeric(const std::string& text) {
  return !text.empty() && (text[0] == '-' || (text[0] >= '0' && text[0] <= '9'));
}

// Text that YAML reads as this very string when it stands alone.
bool is_plain_yaml(const std::string& text) {
  if (text.empty() || text == "true" || text == "false" || text == "null" || text == "yes" || text == "no" ||
      text == "on" || text == "off" || text == "~" || looks_numeric(text) || text[0] == '.' || text[0] == '+') {
    return false;
  }
  return std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '-' || c == '.' || c == '/';
  });
}

std::string yaml_scalar(const Json& value) {
  if (!value.is_string()) return value.dump();
  const auto& text = value.get_ref<const std::string&>();
  return is_plain_yaml(text) ? text : value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

bool is_leaf(const Json& value) { return !value.is_structured() || value.empty(); }

bool is_flat_array(const Json& value) {
  return value.is_array() && std::all_of(value.begin(), value.end(), [](const Json& v) { return v.is_number(); });
}

// Four digits that mean something, without an exponent while that can be read.
std::string format_rounded(double number) {
  if (std::abs(number) >= 1000 && std::abs(number) < 1e15) return absl::StrFormat("%.0f", number);
  return absl::StrFormat("%.4g", number);
}

void append_yaml(const Json& json, size_t indent, std::string* out);

void append_entry(const std::string& lead, const Json& value, size_t indent, std::string* out) {
  out->append(indent, ' ').append(lead);
  if (is_leaf(value) || is_flat_array(value)) {
    out->append(" ").append(yaml_scalar(value)).append("\n");
    return;
  }
  if (lead == "-") {
    // The first member stands behind the dash.
    std::string inner;
    append_yaml(value, indent + 2, &inner);
    out->append(" ").append(inner, indent + 2, std::string::npos);
    return;
  }
  out->append("\n");
  append_yaml(value, indent + 2, out);
}

void append_yaml(const Json& json, size_t indent, std::string* out) {
  if (json.is_object()) {
    for (const auto& [name, value] : json.items()) append_entry(yaml_scalar(Json(name)) + ":", value, indent, out);
  } else {
    for (const Json& value : json) append_entry("-", value, indent, out);
  }
}

}  // namespace

std::string Table::text() const {
  std::vector<size_t> widths;
  for (const auto& row : rows_) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::vector<bool> right(widths.size(), rows_.size() > 1);
  for (size_t r = 1; r < rows_.size(); ++r) {
    for (size_t i = 0; i < rows_[r].size(); ++i) {
      if (!rows_[r][i].empty() && !looks_numeric(rows_[r][i])) right[i] = false;
    }
  }
  std::string out;
  for (const auto& row : rows_) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string pad(widths[i] - row[i].size(), ' ');
      line.append(i == 0 ? "" : "  ").append(right[i] ? pad + row[i] : row[i] + pad);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out.append(line).append("\n");
  }
  return out;
}

std::string coloured(std::string_view text, Colour colour) {
  const std::string plain(text);
  if (colour == Colour::kPlain || !use_colour()) return plain;
  constexpr const char* kCodes[] = {"0", "32", "33", "31", "2"};
  return absl::StrCat("\x1b[", kCodes[static_cast<int>(colour)], "m", plain, "\x1b[0m");
}

Colour colour_of_health(std::string_view health) {
  return health == "OK" ? Colour::kGood : health == "WARN" ? Colour::kWarning : Colour::kBad;
}

std::string to_yaml(const Json& json) {
  if (is_leaf(json)) return yaml_scalar(json) + "\n";
  std::string out;
  append_yaml(json, 0, &out);
  return out;
}

void print_data(const Session& session, const Json& json) {
  const std::string text = session.options().output == "yaml"
                               ? to_yaml(json)
                               : json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  std::fwrite(text.data(), 1, text.size(), stdout);
}

absl::Status save_file(const Session& session, const std::string& path, const std::string& text) {
  RETURN_IF_ERROR(write_file_atomically(path, text));
  if (session.wants_data()) {
    print_data(session, {{"version", 1}, {"kind", "file"}, {"file", path}, {"bytes", text.size()}});
  } else {
    std::printf("%s\n", path.c_str());
  }
  return absl::OkStatus();
}

std::string format_seconds(double seconds) {
  if (seconds < 0.0005) return absl::StrFormat("%.0f us", seconds * 1e6);
  if (seconds < 1) return absl::StrFormat("%.1f ms", seconds * 1e3);
  if (seconds < 60) return absl::StrFormat("%.1f s", seconds);
  const auto whole = static_cast<int64_t>(seconds);
  if (whole < 3600) return absl::StrFormat("%dm%02ds", whole / 60, whole % 60);
  if (whole < 86400) return absl::StrFormat("%dh%02dm", whole / 3600, whole / 60 % 60);
  return absl::StrFormat("%dd%02dh", whole / 86400, whole / 3600 % 24);
}

std::string format_bytes(double bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  for (; bytes >= 1024 && unit + 1 < std::size(kUnits); ++unit) bytes /= 1024;
  return absl::StrFormat("%.*f %s", unit == 0 ? 0 : 1, bytes, kUnits[unit]);
}

std::string format_number(double number, int digits) { return absl::StrFormat("%.*f", digits, number); }

std::string format_member(std::string_view name, const Json& value) {
  if (value.is_array()) {
    std::string out = "[";
    for (const Json& one : value) absl::StrAppend(&out, out.size() > 1 ? ", " : "", format_member(name, one));
    return out + "]";
  }
  if (!value.is_number()) return text_of(value);
  const auto number = value.get<double>();
  const auto ends = [name](std::string_view end) { return name.ends_with(end); };
  if (ends("_seconds") || name == "seconds") return format_seconds(number);
  if (ends("_ms")) return format_seconds(number / 1e3);
  if (ends("_per_second")) return format_rounded(number) + "/s";
  if (ends("bytes") || name.starts_with("bytes_") || name.find("_bytes_") != std::string_view::npos) return format_bytes(number);
  if (ends("fraction") || ends("share") || name == "gap") return absl::StrFormat("%.1f %%", 100 * number);
  return value.is_number_float() ? format_rounded(number) : value.dump();
}

std::string text_of(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_null()) return "-";
  return value.dump();
}

double number_of(const Json& json, const char* name, double otherwise) {
  const auto found = json.is_object() ? json.find(name) : json.end();
  return found != json.end() && found->is_number() ? found->get<double>() : otherwise;
}

absl::StatusOr<double> parse_duration(const std::string& text) {
  double total = 0;
  const char* at = text.c_str();
  while (*at != '\0') {
    char* end = nullptr;
    const double number = std::strtod(at, &end);
    const double factor = *end == 's' || *end == '\0' ? 1 : *end == 'm' ? 60 : *end == 'h' ? 3600 : -1;
    if (end == at || factor < 0 || !(number >= 0)) {
      return absl::InvalidArgumentError(absl::StrCat("\"", text, "\" is no duration; write for example 90s, 5m or 1h30m"));
    }
    total += number * factor;
    at = *end == '\0' ? end : end + 1;
  }
  if (text.empty()) return absl::InvalidArgumentError("an empty duration; write for example 90s");
  return total;
}

}  // namespace conclave::ctl
