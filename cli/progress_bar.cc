#include "cli/progress_bar.h"

#include <unistd.h>

#include <cstdio>

namespace conclave::cli {

std::string format_bytes(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  int unit = 0;
  while (value >= 1024 && unit < 4) {
    value /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.2f %s", value, kUnits[unit]);
  return text;
}

ProgressBar::ProgressBar(std::string what, bool enabled)
    : what_(std::move(what)),
      enabled_(enabled),
      terminal_(::isatty(STDERR_FILENO) != 0),
      start_(std::chrono::steady_clock::now()) {}

ProgressBar::~ProgressBar() { finish(); }

void ProgressBar::update(uint64_t done, uint64_t total, bool bytes) {
  if (!enabled_ || total == 0) return;
  const auto now = std::chrono::steady_clock::now();
  const int tenth = static_cast<int>(10 * done / total);
  if (terminal_ ? (drawn_ && done < total && now - last_draw_ < std::chrono::milliseconds(100)) : tenth == last_tenth_) {
    return;
  }
  last_tenth_ = tenth;
  last_draw_ = now;
  drawn_ = true;
  const double seconds = std::chrono::duration<double>(now - start_).count();
  const std::string amount = bytes ? format_bytes(done) + " of " + format_bytes(total)
                                   : std::to_string(done) + " of " + std::to_string(total);
  const std::string rate = bytes && seconds > 0.05
                               ? ", " + format_bytes(static_cast<uint64_t>(static_cast<double>(done) / seconds)) + "/s"
                               : "";
  std::string bar(20, '.');
  for (size_t i = 0; i < 20 * done / total && i < 20; ++i) bar[i] = '#';
  std::fprintf(stderr, "%s%s [%s] %3d %% (%s, %.1f s%s)%s", terminal_ ? "\r" : "", what_.c_str(), bar.c_str(),
               static_cast<int>(100 * done / total), amount.c_str(), seconds, rate.c_str(), terminal_ ? "  " : "\n");
  std::fflush(stderr);
}

void ProgressBar::finish() {
  if (enabled_ && drawn_ && terminal_) std::fputc('\n', stderr);
  enabled_ = false;
}

}  // namespace conclave::cli
