#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "cli/conclavectl/doctor.h"
#include "cli/conclavectl/output.h"

namespace conclave::ctl {
namespace {

constexpr double kGiB = 1024.0 * 1024 * 1024;

double available_memory() {
  std::ifstream file("/proc/meminfo");
  std::string name;
  double kib = 0;
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    if (fields >> name >> kib && name == "MemAvailable:") return kib * 1024;
  }
  return 0;
}

bool cpu_has(const std::string& flag) {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("flags")) return (line + " ").find(" " + flag + " ") != std::string::npos;
  }
  return false;
}

bool on_path(const std::string& program) {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path != nullptr ? path : "");
  for (std::string folder; std::getline(folders, folder, ':');) {
    if (::access((folder + "/" + program).c_str(), X_OK) == 0) return true;
  }
  return false;
}

Finding check_cpu() {
  if (cpu_has("avx512bw")) return {"cpu", "OK", "AVX-512: the fastest CPU kernel set runs here", ""};
  if (cpu_has("avx2")) return {"cpu", "OK", "AVX2, no AVX-512", ""};
  return {"cpu", "WARN", "the CPU has no AVX2", "CPU ranks will be slow here; use a newer host or a GPU"};
}

Finding check_memory() {
  const double bytes = available_memory();
  const std::string what = absl::StrCat(format_bytes(bytes), " of memory are available");
  if (bytes >= 2 * kGiB) return {"memory", "OK", what, ""};
  return {"memory", "WARN", what, "`conclave inspect MODEL` says what a model needs; free memory or use more hosts"};
}

Finding check_shared_memory() {
  struct statvfs info {};
  if (::statvfs("/dev/shm", &info) != 0) {
    return {"shared-memory", "ERROR", "/dev/shm is missing", "mount a tmpfs there: ranks of one host talk through it"};
  }
  const double bytes = static_cast<double>(info.f_bavail) * static_cast<double>(info.f_frsize);
  const std::string what = absl::StrCat(format_bytes(bytes), " are free in /dev/shm");
  if (bytes >= 64.0 * 1024 * 1024) return {"shared-memory", "OK", what, ""};
  return {"shared-memory", "WARN", what, "in containers start with --shm-size=1g or more; files of dead jobs may be left there"};
}

Finding check_open_files() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const std::string what = absl::StrCat("a process may open ", static_cast<uint64_t>(limit.rlim_cur), " files");
  if (limit.rlim_cur >= 4096) return {"open-files", "OK", what, ""};
  return {"open-files", "WARN", what, "each client is a file: `ulimit -n 65536` before the coordinator starts"};
}

Finding check_mpi() {
  if (on_path("mpirun")) return {"mpi", "OK", "mpirun is on the path", ""};
  return {"mpi", "WARN", "mpirun is not on the path", "more than one process per group needs Open MPI; --transport local works without"};
}

Finding check_gpu() {
  const bool device = std::filesystem::exists("/dev/nvidiactl");
  if (!device) return {"gpu", "SKIP", "no NVIDIA device: CPU kernels will be used", ""};
  if (on_path("nvidia-smi")) return {"gpu", "OK", "an NVIDIA driver and nvidia-smi are there", ""};
  return {"gpu", "WARN", "there is an NVIDIA device, but no nvidia-smi on the path", "install the driver's tools so that faults can be seen"};
}

Finding check_worker() {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  const auto worker = self.parent_path().parent_path() / "libexec" / "conclave" / "conclave-worker";
  if (!error && ::access(worker.c_str(), X_OK) == 0) return {"worker-program", "OK", worker.string(), ""};
  return {"worker-program", "WARN", absl::StrCat(worker.string(), " is not there"), "install or build Conclave here if ranks shall run on this host"};
}

Finding check_load() {
  double load = 0;
  std::ifstream("/proc/loadavg") >> load;
  const auto cores = static_cast<double>(::sysconf(_SC_NPROCESSORS_ONLN));
  const std::string what = absl::StrCat("load ", format_number(load), " on ", format_number(cores, 0), " cores");
  if (load <= 1.5 * cores) return {"load", "OK", what, ""};
  return {"load", "WARN", what, "ranks spin while they wait: other jobs on their cores slow every rank down"};
}

}  // namespace

std::vector<Finding> check_host() {
  return {check_cpu(), check_memory(), check_shared_memory(), check_open_files(), check_mpi(), check_gpu(), check_worker(), check_load()};
}

}  // namespace conclave::ctl
