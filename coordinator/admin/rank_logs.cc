#include "coordinator/admin/rank_logs.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <optional>
#include <thread>
#include <utility>

namespace conclave::coordinator {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::milliseconds kPatience{1500};
constexpr int64_t kEndOfAFile = 32768;
constexpr size_t kFiles = 256;

std::optional<int32_t> number_at(std::string_view text, size_t at) {
  int32_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data() + at, end, value);
  if (error != std::errc() || value < 0) return std::nullopt;
  return value;
}

std::string shortened(std::string line) {
  if (line.size() > RankLogs::kLongestLine)
    line.replace(RankLogs::kLongestLine, std::string::npos, "…");
  return line;
}

// The lines of the file's end, without the first one that is cut.
std::vector<std::string> last_lines(const fs::path& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  const int64_t size = file.tellg();
  const int64_t from = std::max<int64_t>(0, size - kEndOfAFile);
  file.seekg(from);
  std::deque<std::string> lines;
  std::string line;
  if (from > 0) std::getline(file, line);
  while (std::getline(file, line)) {
    if (lines.size() == RankLogs::kLinesOfARank) lines.pop_front();
    lines.push_back(shortened(std::move(line)));
  }
  return {lines.begin(), lines.end()};
}

// rank-N.log -> N.
std::optional<int32_t> rank_of_file(const std::string& name) {
  constexpr std::string_view kBegin = "rank-";
  if (!name.starts_with(kBegin) || !name.ends_with(".log")) return std::nullopt;
  return number_at(name, kBegin.size());
}

std::vector<RankLog> read_files(const std::string& folder) {
  std::map<int32_t, fs::path> files;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (const auto rank = rank_of_file(it->path().filename().string())) files[*rank] = it->path();
  }
  std::vector<RankLog> logs;
  for (const auto& [rank, path] : files) {
    if (logs.size() < kFiles) logs.push_back({rank, last_lines(path)});
  }
  return logs;
}

}  // namespace

struct RankLogs::FolderRead {
  std::mutex mutex;
  std::condition_variable done;
  std::optional<std::vector<RankLog>> logs;
};

int32_t rank_of_line(std::string_view line) {
  for (const std::string_view key : {std::string_view(" rank="), std::string_view("\"rank\":")}) {
    const size_t at = line.find(key);
    if (at == std::string_view::npos) continue;
    if (const auto rank = number_at(line, at + key.size())) return *rank;
  }
  return -1;
}

RankLogs::RankLogs(std::string folder) : folder_(std::move(folder)) {}

void RankLogs::add(std::string line) {
  const int32_t rank = rank_of_line(line);
  const std::lock_guard lock(mutex_);
  std::deque<std::string>& own = lines_[rank];
  own.push_back(shortened(std::move(line)));
  ++count_;
  std::deque<std::string>* longest = own.size() > kLinesOfARank ? &own : nullptr;
  if (longest == nullptr && count_ > kLines) {
    longest = &std::max_element(lines_.begin(), lines_.end(), [](const auto& a, const auto& b) {
                 return a.second.size() < b.second.size();
               })->second;
  }
  if (longest == nullptr) return;
  longest->pop_front();
  --count_;
}

// A thread of its own reads, since nobody can take back a read that hangs; while one does, there is
// no second.
std::vector<RankLog> RankLogs::read_folder() const {
  std::shared_ptr<FolderRead> read;
  {
    const std::lock_guard lock(mutex_);
    if (reading_ == nullptr) {
      reading_ = std::make_shared<FolderRead>();
      std::thread([read = reading_, folder = folder_] {
        std::vector<RankLog> logs = read_files(folder);
        const std::lock_guard done(read->mutex);
        read->logs = std::move(logs);
        read->done.notify_all();
      }).detach();
    }
    read = reading_;
  }
  std::unique_lock lock(read->mutex);
  if (!read->done.wait_for(lock, kPatience, [&] { return read->logs.has_value(); })) {
    return {{-1, {folder_ + ": the file system does not answer"}}};
  }
  std::vector<RankLog> logs = *read->logs;
  lock.unlock();
  const std::lock_guard guard(mutex_);
  if (reading_ == read) reading_.reset();
  return logs;
}

std::vector<RankLog> RankLogs::last() const {
  std::map<int32_t, std::vector<std::string>> all;
  if (!folder_.empty()) {
    for (RankLog& log : read_folder()) all[log.rank] = std::move(log.lines);
  }
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [rank, lines] : lines_)
      all[rank].insert(all[rank].end(), lines.begin(), lines.end());
  }
  std::vector<RankLog> logs;
  for (auto& [rank, lines] : all) logs.push_back({rank, std::move(lines)});
  return logs;
}

}  // namespace conclave::coordinator
