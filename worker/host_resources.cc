#include "worker/host_resources.h"

#include <sched.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <string>
#include <thread>

namespace conclave::worker {
namespace {

std::optional<uint64_t> read_number(const char* path) {
  std::ifstream file(path);
  uint64_t value = 0;
  if (file >> value) return value;  // "max" is no number: no limit
  return std::nullopt;
}

// "200000 100000": two cores' worth of time; "max 100000": no limit.
int32_t quota_cores(const char* path) {
  std::ifstream file(path);
  uint64_t quota = 0, period = 0;
  if (!(file >> quota >> period) || period == 0) return std::numeric_limits<int32_t>::max();
  return static_cast<int32_t>(std::max<uint64_t>(1, quota / period));
}

uint64_t host_available_bytes() {
  std::ifstream file("/proc/meminfo");
  std::string key;
  uint64_t kibibytes = 0;
  std::string unit;
  while (file >> key >> kibibytes) {
    if (key == "MemAvailable:") return kibibytes * 1024;
    std::getline(file, unit);
  }
  return 0;
}

}  // namespace

int32_t usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  int32_t cores = static_cast<int32_t>(std::max(1u, std::thread::hardware_concurrency()));
  if (sched_getaffinity(0, sizeof set, &set) == 0) cores = CPU_COUNT(&set);
  return std::max(1, std::min(cores, quota_cores("/sys/fs/cgroup/cpu.max")));
}

uint64_t available_memory_bytes() {
  uint64_t available = host_available_bytes();
  const auto limit = read_number("/sys/fs/cgroup/memory.max");
  const auto used = read_number("/sys/fs/cgroup/memory.current");
  if (limit && used) available = std::min(available, *limit > *used ? *limit - *used : 0);
  return available;
}

}  // namespace conclave::worker
