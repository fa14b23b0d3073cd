#ifndef CONCLAVE_CLI_SUBMIT_JOB_OPTIONS_H_
#define CONCLAVE_CLI_SUBMIT_JOB_OPTIONS_H_

#include <cstdint>
#include <string>
#include <vector>

namespace conclave::cli {

// What `conclave submit` asks Slurm for, and how the job runs.
struct JobOptions {
  std::string model;
  int32_t nodes = 1;
  int32_t ranks_per_node = 1;
  int32_t gpus_per_node = 0;
  int32_t cpus_per_rank = 0;  // 0: as the site gives; the ranks then share the cores of their node
  std::string name = "conclave";
  std::string time;  // Slurm's syntax; empty: the partition's default
  std::string partition, account, qos;
  std::vector<std::string> sbatch_options;  // "--mem=0": further #SBATCH lines
  std::string folder;                       // of the service; empty: ./NAME-service
  std::string targets_folder;               // for Prometheus; empty: FOLDER/targets
  std::string listen = "node";
  int32_t port = 0;
  int32_t admin_port = 0;
  int32_t lead_s = 300;  // from USR1 to the end of the job
  bool chain = false;
  int32_t handover_linger_s = 60;
  bool preflight = true;
  uint64_t min_memory_bytes = 0;  // free on each node
  double min_read_mib_per_s = 0;  // of the model's files
  std::string api_key_file;       // empty: FOLDER/api_key, made by the job
  bool api_key = true;
  std::string admin_key_file;  // empty: verbs only through the Unix socket on the first node
  std::vector<std::string> coordinator_flags;
};

}  // namespace conclave::cli

#endif  // CONCLAVE_CLI_SUBMIT_JOB_OPTIONS_H_
