#ifndef CONCLAVE_CLI_CONCLAVECTL_OUTPUT_H_
#define CONCLAVE_CLI_CONCLAVECTL_OUTPUT_H_

// Data goes to stdout as a table, JSON or YAML; everything said beside it goes to stderr.

#include <string>
#include <string_view>
#include <vector>

#include "cli/conclavectl/session.h"

namespace conclave::ctl {

// Rows of text; numbers are aligned to the right.
class Table {
 public:
  explicit Table(std::vector<std::string> header) : rows_{std::move(header)} {}
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  std::string text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

enum class Colour { kPlain, kGood, kWarning, kBad, kDim };
// With an escape sequence only where stdout is a terminal and NO_COLOR is unset or empty.
std::string coloured(std::string_view text, Colour colour);
Colour colour_of_health(std::string_view health);

// Block style; strings are quoted where YAML would read them as something else.
std::string to_yaml(const Json& json);
// JSON or YAML as the session asks; only for wants_data().
void print_data(const Session& session, const Json& json);

// Writes the file and says so: its name on stdout, or {"version":1,"kind":"file","file":…,"bytes":…}.
absl::Status save_file(const Session& session, const std::string& path, const std::string& text);

std::string format_seconds(double seconds);  // "1.2 ms", "3.4 s", "2m05s", "3h10m", "2d04h"
std::string format_bytes(double bytes);      // "12.3 MiB"
std::string format_number(double number, int digits = 1);
// As a person reads the member `name` of a document: its unit goes by the name's end (_seconds, _ms, bytes, _per_second,
// fraction, share, gap), other fractions are rounded to four digits, also in lists; whole numbers stay as they are.
std::string format_member(std::string_view name, const Json& value);
std::string text_of(const Json& value);  // strings without quotes, all else as JSON
double number_of(const Json& json, const char* name, double otherwise = 0);
// "90", "90s", "5m", "1h30m" -> seconds. INVALID_ARGUMENT otherwise.
absl::StatusOr<double> parse_duration(const std::string& text);

}  // namespace conclave::ctl

#endif  // CONCLAVE_CLI_CONCLAVECTL_OUTPUT_H_
