#ifndef CONCLAVE_BASE_LOG_H_
#define CONCLAVE_BASE_LOG_H_

// One line a record on stderr: time, level, component, rank and step where known, message, then
// key=value fields. A request's records carry the field "request_id". Thread-safe: a record is one
// write(2). Never used inside a step (law 5); nothing per token at info.

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace conclave {

enum class LogLevel { kDebug, kInfo, kWarning, kError };
enum class LogFormat { kText, kJson };

struct LogField {
  std::string_view key;
  std::string value;
};

const char* log_level_name(LogLevel level);
// "debug", "info", "warning" or "error"; nothing for another word.
std::optional<LogLevel> parse_log_level(std::string_view name);

// Process-wide settings: set by main(), the level also at run time by the admin API.
void set_log_level(LogLevel level);
LogLevel log_level();
void set_log_format(LogFormat format);
// A name shown in each record, for example "coordinator".
void set_log_component(std::string component);
// Of the calling thread: which rank it is and the step it works on; -1: none. Cost a store each.
void set_log_rank(int32_t rank);
void set_log_step(int64_t step);

bool log_enabled(LogLevel level);
// Records written so far, by level.
int64_t log_record_count(LogLevel level);
// The last lines written, oldest first, without their newlines; at most 512 are kept.
std::vector<std::string> recent_log_lines();

void log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields = {});
inline void log_debug(std::string_view m, std::initializer_list<LogField> f = {}) { log(LogLevel::kDebug, m, f); }
inline void log_info(std::string_view m, std::initializer_list<LogField> f = {}) { log(LogLevel::kInfo, m, f); }
inline void log_warning(std::string_view m, std::initializer_list<LogField> f = {}) { log(LogLevel::kWarning, m, f); }
inline void log_error(std::string_view m, std::initializer_list<LogField> f = {}) { log(LogLevel::kError, m, f); }

}  // namespace conclave

#endif  // CONCLAVE_BASE_LOG_H_
