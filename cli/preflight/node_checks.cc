#include "cli/preflight/node_checks.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/deadline.h"

namespace conclave::cli {
namespace {

namespace fs = std::filesystem;

constexpr double kMiB = 1024.0 * 1024;
constexpr uint64_t kReadBytes = uint64_t{256} << 20;
constexpr auto kReadTime = std::chrono::seconds(20);  // a slow file system is known by then

uint64_t available_on_host() {
  std::ifstream in("/proc/meminfo");
  for (std::string key; in >> key;) {
    uint64_t kib = 0;
    if (key == "MemAvailable:" && in >> kib) return kib * 1024;
    in.ignore(1 << 12, '\n');
  }
  return 0;
}

bool read_number(const fs::path& path, uint64_t* value) {
  std::ifstream in(path);
  return static_cast<bool>(in >> *value);  // "max" is no number
}

// What the control groups (version 2) of this process leave, from its own up to the root.
uint64_t available_in_control_groups() {
  std::ifstream in("/proc/self/cgroup");
  uint64_t least = UINT64_MAX;
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with("0::")) continue;
    for (fs::path group = fs::path("/sys/fs/cgroup" + line.substr(3));
         group.has_relative_path() && group != "/sys/fs/cgroup"; group = group.parent_path()) {
      uint64_t limit = 0, used = 0;
      if (read_number(group / "memory.max", &limit) &&
          read_number(group / "memory.current", &used)) {
        least = std::min(least, limit > used ? limit - used : 0);
      }
    }
  }
  return least;
}

std::string gib(uint64_t bytes) {
  return absl::StrFormat("%.1f GiB", static_cast<double>(bytes) / kMiB / 1024);
}

fs::path largest_weight_file(const std::string& model) {
  std::error_code error;
  fs::path largest;
  uintmax_t most = 0;
  for (const fs::directory_entry& entry : fs::directory_iterator(model, error)) {
    const uintmax_t size = entry.path().extension() == ".safetensors" ? entry.file_size(error) : 0;
    if (!error && size > most) {
      most = size;
      largest = entry.path();
    }
  }
  return largest;
}

struct ReadRun {
  uint64_t bytes = 0;
  double seconds = 0;
  int error = 0;
};

ReadRun read_uncached(const fs::path& path) {
  ReadRun run;
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {0, 0, errno};
  ::posix_fadvise(fd, 0, static_cast<off_t>(kReadBytes), POSIX_FADV_DONTNEED);
  std::vector<char> buffer(size_t{4} << 20);
  const Deadline deadline = Deadline::after(kReadTime);
  while (run.bytes < kReadBytes && !deadline.expired()) {
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got < 0) run.error = errno;
    if (got <= 0) break;
    run.bytes += static_cast<uint64_t>(got);
  }
  run.seconds = std::max(deadline.age_seconds(), 1e-6);
  ::close(fd);
  return run;
}

}  // namespace

CheckResult check_memory(uint64_t required_bytes) {
  const uint64_t host = available_on_host();
  const uint64_t groups = available_in_control_groups();
  const uint64_t available = std::min(host, groups);
  const char* where = groups < host ? " in its control group" : "";
  if (available >= required_bytes)
    return {"memory", true, absl::StrCat(gib(available), " of memory free", where)};
  return {"memory", false,
          absl::StrCat("only ", gib(available), " of memory free", where,
                       ", but its share of the weights needs ", gib(required_bytes),
                       "; use more nodes or end what runs there")};
}

CheckResult check_model_files(const std::string& model, double minimum_mib_per_s) {
  std::error_code error;
  if (!fs::is_regular_file(model + "/config.json", error)) {
    return {"model", false,
            absl::StrCat("cannot see ", model,
                         "/config.json; put the model on a file system that every node mounts")};
  }
  const fs::path file = largest_weight_file(model);
  if (file.empty())
    return {"model", false, absl::StrCat(model, " holds no *.safetensors file that can be read")};
  const ReadRun run = read_uncached(file);
  if (run.error != 0)
    return {"model", false,
            absl::StrCat("cannot read ", file.string(), ": ", std::strerror(run.error))};
  const double rate = static_cast<double>(run.bytes) / kMiB / run.seconds;
  if (rate < minimum_mib_per_s) {
    return {"model", false,
            absl::StrFormat("reads the model at %.0f MiB/s, below the %.0f of --min-read-rate",
                            rate, minimum_mib_per_s)};
  }
  return {"model", true, absl::StrFormat("reads the model at %.0f MiB/s", rate)};
}

}  // namespace conclave::cli
