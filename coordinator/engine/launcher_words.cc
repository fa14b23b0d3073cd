#include "coordinator/engine/launcher_words.h"

#include <string.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <string_view>

#include "absl/strings/str_cat.h"

namespace conclave::coordinator {
namespace {

constexpr size_t kKeptLines = 12;
constexpr size_t kLastLines = 6;
constexpr size_t kMaxLineBytes = 300;
constexpr size_t kMaxWordsBytes = 700;

// Records of base/log.h, text or JSON: ranks speak through the launcher's pipe as well.
bool is_log_record(std::string_view line) {
  if (line.starts_with("{\"time\":")) return true;
  return line.size() > 28 && line[4] == '-' && line[10] == 'T' && line[26] == 'Z' &&
         std::isdigit(line[0]) != 0;
}

bool says_something(std::string_view line) {
  return line.find_first_not_of("-=*# \t\r") != std::string_view::npos;
}

std::string signal_text(int signal) {
  const char* name = ::strsignal(signal);
  return absl::StrCat("was killed by signal ", signal, " (", name == nullptr ? "?" : name, ")");
}

// Open MPI's help text, however it breaks its lines.
std::optional<RankEnd> from_mpirun(const std::string& text) {
  RankEnd end;
  char host[256] = "";
  int signal = 0;
  if (const size_t at = text.rfind("process rank "); at != std::string::npos) {
    const int found = std::sscanf(text.c_str() + at,
                                  "process rank %d with PID %*d on node %255s exited on signal %d",
                                  &end.rank, host, &signal);
    if (found == 3) return RankEnd{end.rank, host, signal_text(signal)};
  }
  if (const size_t at = text.rfind("Process name: [["); at != std::string::npos) {
    int status = 0;
    if (std::sscanf(text.c_str() + at, "Process name: [[%*d,%*d],%d] Exit code: %d", &end.rank,
                    &status) == 2) {
      return RankEnd{end.rank, "", absl::StrCat("exited with status ", status)};
    }
  }
  return std::nullopt;
}

// "srun: error: HOST: task 1: Killed"; of "tasks 2-3" the first.
std::optional<RankEnd> from_srun(const std::string& line) {
  char host[256] = "";
  int rank = 0, used = 0;
  if (std::sscanf(line.c_str(), "srun: error: %255[^:]: task%*[s ]%d%n", host, &rank, &used) != 2)
    return std::nullopt;
  const size_t colon = line.find(": ", static_cast<size_t>(used));
  if (colon == std::string::npos) return std::nullopt;
  const std::string how = line.substr(colon + 2);
  int status = 0;
  if (std::sscanf(how.c_str(), "Exited with exit code %d", &status) == 1) {
    return RankEnd{rank, host, absl::StrCat("exited with status ", status)};
  }
  return RankEnd{rank, host, absl::StrCat("ended: ", how)};
}

}  // namespace

void LauncherWords::add(const std::string& line) {
  if (is_log_record(line) || !says_something(line)) return;
  if (lines_.size() == kKeptLines) lines_.pop_front();
  lines_.push_back(line.substr(0, kMaxLineBytes));
  if (rank_end_) return;
  rank_end_ = from_srun(line);
  if (rank_end_) return;
  std::string text;
  for (const std::string& kept : lines_) absl::StrAppend(&text, kept, " ");
  rank_end_ = from_mpirun(text);
}

std::string LauncherWords::last_words() const {
  std::string text;
  for (size_t i = lines_.size() - std::min(lines_.size(), kLastLines); i < lines_.size(); ++i) {
    const std::string& line = lines_[i];
    const size_t begin = line.find_first_not_of(" \t");
    const size_t end = line.find_last_not_of(" \t\r");
    absl::StrAppend(&text, text.empty() ? "" : " / ", line.substr(begin, end - begin + 1));
  }
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  if (text.size() > kMaxWordsBytes) text = "..." + text.substr(text.size() - kMaxWordsBytes);
  return text;
}

}  // namespace conclave::coordinator
