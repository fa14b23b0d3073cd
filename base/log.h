#ifndef CONCLAVE_BASE_LOG_H_
#define CONCLAVE_BASE_LOG_H_

// One line a record on stderr: time, level, component, message, then key=value fields.
// Thread-safe: a record is one write(2). Never used inside a step (law 5).

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace conclave {

enum class LogLevel { kDebug, kInfo, kWarning, kError };
enum class LogFormat { kText, kJson };

struct LogField {
  std::string_view key;
  std::string value;
};

// Process-wide settings, meant to be set once by main() and by the admin API.
void set_log_level(LogLevel level);
void set_log_format(LogFormat format);
// A name shown in each record, for example "coordinator" or "worker 3".
void set_log_component(std::string component);
bool log_enabled(LogLevel level);

void log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields = {});
inline void log_debug(std::string_view m, std::initializer_list<LogField> f = {}) { log(LogLevel::kDebug, m, f); }
inline void log_info(std::string_view m, std::initializer_list<LogField> f = {}) { log(LogLevel::kInfo, m, f); }
inline void log_warning(std::string_view m, std::initializer_list<LogField> f = {}) { log(LogLevel::kWarning, m, f); }
inline void log_error(std::string_view m, std::initializer_list<LogField> f = {}) { log(LogLevel::kError, m, f); }

}  // namespace conclave

#endif  // CONCLAVE_BASE_LOG_H_
