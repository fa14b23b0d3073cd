#include "base/log.h"

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <mutex>
#include <nlohmann/json.hpp>

namespace conclave {
namespace {

std::atomic<LogLevel> g_level{LogLevel::kInfo};
std::atomic<LogFormat> g_format{LogFormat::kText};

struct Component {
  std::mutex mutex;
  std::string name;
};
Component& component() {
  static Component instance;
  return instance;
}

const char* level_name(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug: return "debug";
    case LogLevel::kInfo: return "info";
    case LogLevel::kWarning: return "warning";
    case LogLevel::kError: return "error";
  }
  return "?";
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

std::string text_record(LogLevel level, std::string_view name, std::string_view message,
                        std::initializer_list<LogField> fields) {
  std::string line = timestamp() + " " + level_name(level) + " ";
  if (!name.empty()) line.append("[").append(name).append("] ");
  for (char c : message) line.push_back(c == '\n' ? ' ' : c);
  for (const LogField& field : fields) {
    line.append(" ").append(field.key).append("=");
    const bool quote = field.value.find_first_of(" \"\n\t") != std::string::npos || field.value.empty();
    line.append(quote ? nlohmann::json(field.value).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)
                      : field.value);
  }
  return line + "\n";
}

std::string json_record(LogLevel level, std::string_view name, std::string_view message,
                        std::initializer_list<LogField> fields) {
  nlohmann::ordered_json record{{"time", timestamp()}, {"level", level_name(level)}};
  if (!name.empty()) record["component"] = std::string(name);
  record["message"] = std::string(message);
  for (const LogField& field : fields) record[std::string(field.key)] = field.value;
  return record.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace

void set_log_level(LogLevel level) { g_level.store(level, std::memory_order_relaxed); }
void set_log_format(LogFormat format) { g_format.store(format, std::memory_order_relaxed); }
void set_log_component(std::string name) {
  std::lock_guard lock(component().mutex);
  component().name = std::move(name);
}
bool log_enabled(LogLevel level) { return level >= g_level.load(std::memory_order_relaxed); }

void log(LogLevel level, std::string_view message, std::initializer_list<LogField> fields) {
  if (!log_enabled(level)) return;
  std::string name;
  {
    std::lock_guard lock(component().mutex);
    name = component().name;
  }
  const std::string line = g_format.load(std::memory_order_relaxed) == LogFormat::kJson
                               ? json_record(level, name, message, fields)
                               : text_record(level, name, message, fields);
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace conclave
