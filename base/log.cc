#include "base/log.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <deque>
#include <mutex>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "base/log_file.h"

namespace conclave {
namespace {

constexpr size_t kRecentLines = 512;
constexpr int kLevels = 4;

std::atomic<LogLevel> g_level{LogLevel::kInfo};
std::atomic<int> g_output{STDERR_FILENO};
std::atomic<LogFormat> g_format{LogFormat::kText};
std::array<std::atomic<int64_t>, kLevels> g_records{};
thread_local int32_t t_rank = -1;
thread_local int64_t t_step = -1;

struct Sink {
  std::mutex mutex;
  std::string component;
  std::deque<std::string> recent;
  std::string file;  // "": stderr
};
Sink& sink() {
  static Sink instance;
  return instance;
}

std::string timestamp() {
  const auto now = std::chrono::system_clock::now();
  const auto us = std::chrono::duration_cast<std::chrono::microseconds>(now.time_since_epoch()).count();
  const std::time_t seconds = static_cast<std::time_t>(us / 1000000);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char text[96];
  std::snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%06ldZ", utc.tm_year + 1900, utc.tm_mon + 1,
                utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, static_cast<long>(us % 1000000));
  return text;
}

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }
bool needs_quotes(char c) { return c == ' ' || c == '"' || is_control(c); }

std::string text_record(LogLevel level, std::string_view name, std::string_view message,
                        std::initializer_list<LogField> fields) {
  std::string line = timestamp() + " " + log_level_name(level) + " ";
  if (!name.empty()) line.append("[").append(name).append("] ");
  // A client's text must not reach a terminal as control characters.
  for (char c : message) line.push_back(is_control(c) ? ' ' : c);
  if (t_rank >= 0) line.append(" rank=").append(std::to_string(t_rank));
  if (t_step >= 0) line.append(" step=").append(std::to_string(t_step));
  for (const LogField& field : fields) {
    line.append(" ").append(field.key).append("=");
    const bool quote = field.value.empty() || std::any_of(field.value.begin(), field.value.end(), needs_quotes);
    line.append(quote ? nlohmann::json(field.value).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)
                      : field.value);
  }
  return line + "\n";
}

std::string json_record(LogLevel level, std::string_view name, std::string_view message,
                        std::initializer_list<LogField> fields) {
  nlohmann::ordered_json record{{"time", timestamp()}, {"level", log_level_name(level)}};
  if (!name.empty()) record["component"] = std::string(name);
  if (t_rank >= 0) record["rank"] = t_rank;
  if (t_step >= 0) record["step"] = t_step;
  record["message"] = std::string(message);
  for (const LogField& field : fields) record[std::string(field.key)] = field.value;
  return record.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

int open_to_append(const std::string& path) {
  return ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0640);
}

absl::Status log_file_error(const std::string& path) {
  return absl::InvalidArgumentError(
      absl::StrCat(path, ": cannot open the log file: ", std::strerror(errno)));
}

}  // namespace

const char* log_level_name(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug: return "debug";
    case LogLevel::kInfo: return "info";
    case LogLevel::kWarning: return "warning";
    case LogLevel::kError: return "error";
  }
  return "?";
}

std::optional<LogLevel> parse_log_level(std::string_view name) {
  for (int i = 0; i < kLevels; ++i) {
    if (name == log_level_name(static_cast<LogLevel>(i))) return static_cast<LogLevel>(i);
  }
  return std::nullopt;
}

void set_log_level(LogLevel level) { g_level.store(level, std::memory_order_relaxed); }
LogLevel log_level() { return g_level.load(std::memory_order_relaxed); }
void set_log_format(LogFormat format) { g_format.store(format, std::memory_order_relaxed); }
void set_log_component(std::string name) {
  std::lock_guard lock(sink().mutex);
  sink().component = std::move(name);
}
void set_log_rank(int32_t rank) { t_rank = rank; }
void set_log_step(int64_t step) { t_step = step; }
bool log_enabled(LogLevel level) { return level >= g_level.load(std::memory_order_relaxed); }

int64_t log_record_count(LogLevel level) {
  return g_records[static_cast<size_t>(level)].load(std::memory_order_relaxed);
}

std::vector<std::string> recent_log_lines() {
  std::lock_guard lock(sink().mutex);
  return {sink().recent.begin(), sink().recent.end()};
}

absl::Status open_log_file(const std::string& path) {
  const int file = open_to_append(path);
  if (file < 0) return log_file_error(path);
  std::lock_guard lock(sink().mutex);
  sink().file = path;
  g_output.store(file);
  return absl::OkStatus();
}

absl::Status reopen_log_file() {
  std::lock_guard lock(sink().mutex);
  if (sink().file.empty()) return absl::OkStatus();
  const int file = open_to_append(sink().file);
  if (file < 0) return log_file_error(sink().file);
  // Under the number that writers have: who is about to write hits the old file or the new one.
  ::dup3(file, g_output.load(), O_CLOEXEC);
  ::close(file);
  return absl::OkStatus();
}

void write_log_line(std::string line) {
  line.push_back('\n');
  [[maybe_unused]] const ssize_t written = ::write(g_output.load(), line.data(), line.size());
}

void log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields) {
  if (!log_enabled(level)) return;
  g_records[static_cast<size_t>(level)].fetch_add(1, std::memory_order_relaxed);
  std::string name;
  {
    std::lock_guard lock(sink().mutex);
    name = sink().component;
  }
  std::string line = g_format.load(std::memory_order_relaxed) == LogFormat::kJson
                         ? json_record(level, name, message, fields)
                         : text_record(level, name, message, fields);
  [[maybe_unused]] const ssize_t written = ::write(g_output.load(), line.data(), line.size());
  line.pop_back();
  std::lock_guard lock(sink().mutex);
  if (sink().recent.size() == kRecentLines) sink().recent.pop_front();
  sink().recent.push_back(std::move(line));
}

}  // namespace conclave
