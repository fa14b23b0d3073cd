#include "coordinator/admin/scraped_metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <utility>

#include "base/log.h"
#include "coordinator/admin/family_writer.h"
#include "coordinator/admin/metric_catalogue.h"

namespace conclave::coordinator {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using Labels = FamilyWriter::Labels;

void append_one(const char* name, double value, std::vector<MetricFamily>* out) {
  FamilyWriter(name, out).add({}, value);
}

double unix_now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// Since the boot, in clock ticks: field 22 of /proc/self/stat.
double start_time_seconds() {
  std::ifstream file("/proc/self/stat");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  std::istringstream fields(text.substr(text.rfind(')') + 1));
  std::string word;
  for (int i = 0; i < 20; ++i) fields >> word;
  double uptime = 0;
  std::ifstream("/proc/uptime") >> uptime;
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  return unix_now() - uptime + std::strtod(word.c_str(), nullptr) / ticks;
}

double resident_bytes() {
  double size = 0;
  double resident = 0;
  std::ifstream("/proc/self/statm") >> size >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
}

double open_descriptors() {
  std::error_code error;
  double count = 0;
  for (std::filesystem::directory_iterator it("/proc/self/fd", error), end; !error && it != end;
       it.increment(error))
    ++count;
  return count > 0 ? count - 1 : 0;  // without the one that looks
}

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         1e-6 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

// Ours calls the finish reason "reason" and knows ends that were no success.
void rename_labels(std::string_view vllm_name, const std::string& model, MetricFamily* family) {
  for (ClientMetric& sample : family->metric) {
    for (ClientMetric::Label& label : sample.label) {
      if (label.name == "reason") label.name = "finished_reason";
      if (label.value == "cancelled") label.value = "abort";
    }
    sample.label.push_back({"model_name", model});
    sample.label.push_back({"engine", "0"});
  }
  family->name = std::string(vllm_name);
}

}  // namespace

void append_status_families(const EngineStatus& status, std::vector<MetricFamily>* families) {
  append_one("conclave_requests_open", static_cast<double>(status.open), families);
  append_one("conclave_admission_open", status.draining ? 0 : 1, families);
  append_one("conclave_placement_epoch", static_cast<double>(status.placement_epoch), families);
  FamilyWriter up("conclave_rank_up", families);
  FamilyWriter heard("conclave_rank_heartbeat_timestamp_seconds", families);
  FamilyWriter blocks("conclave_rank_kv_blocks", families);
  FamilyWriter used("conclave_rank_kv_blocks_used", families);
  FamilyWriter memory("conclave_rank_memory_bytes", families);
  FamilyWriter load("conclave_rank_load_duration_seconds", families);
  const double now = unix_now();
  for (const RankStatus& rank : status.ranks) {
    const Labels labels = {{"rank", std::to_string(rank.rank)}};
    up.add(labels, rank.connected ? 1 : 0);
    heard.add(labels, now - rank.heartbeat_age_seconds);
    blocks.add(labels, rank.kv_blocks);
    used.add(labels, rank.kv_blocks_used);
    load.add(labels, rank.load_seconds);
    memory.add({labels[0], {"kind", "weights"}}, static_cast<double>(rank.weight_bytes));
    memory.add({labels[0], {"kind", "kv_cache"}}, static_cast<double>(rank.kv_bytes));
  }
}

void append_model_folder_family(const ModelFolderFindings& findings,
                                std::vector<MetricFamily>* families) {
  const size_t silent = findings.silent_seconds > 0 ? 1 : 0;
  append_one("conclave_model_files_wrong",
             static_cast<double>(findings.gone.size() + findings.changed.size() + silent), families);
}

void append_process_families(std::vector<MetricFamily>* families) {
  FamilyWriter records("conclave_log_records_total", families);
  for (const LogLevel level :
       {LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarning, LogLevel::kError}) {
    records.add({{"level", log_level_name(level)}}, static_cast<double>(log_record_count(level)));
  }
  static const double start = start_time_seconds();
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  append_one("process_cpu_seconds_total", cpu_seconds(), families);
  append_one("process_resident_memory_bytes", resident_bytes(), families);
  append_one("process_open_fds", open_descriptors(), families);
  append_one("process_max_fds", static_cast<double>(limit.rlim_cur), families);
  append_one("process_start_time_seconds", start, families);
}

void append_vllm_families(const std::string& model, std::vector<MetricFamily>* families) {
  const size_t ours = families->size();
  for (size_t i = 0; i < ours; ++i) {
    const std::string_view name = metric_description((*families)[i].name).vllm;
    if (name.empty()) continue;
    MetricFamily copy = (*families)[i];
    rename_labels(name, model, &copy);
    families->push_back(std::move(copy));
  }
}

}  // namespace conclave::coordinator
