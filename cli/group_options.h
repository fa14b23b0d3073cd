#ifndef CONCLAVE_CLI_GROUP_OPTIONS_H_
#define CONCLAVE_CLI_GROUP_OPTIONS_H_

// How a worker group is made: the flags that `serve`, `generate`, `logits`, `eval` and `bench` share,
// and what becomes of them.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/engine/create_engine.h"
#include "coordinator/engine/group_transport.h"
#include "coordinator/tokenizer/tokenizer.h"
#include "model/model_spec.h"

namespace CLI {
class App;
}

namespace conclave::cli {

struct GroupOptions {
  std::string model;
  bool need_model = true;         // an empty name is one that was forgotten
  int32_t ranks = 1;
  int32_t threads = 0;            // per rank; 0: cores / ranks
  std::string transport = "auto"; // auto: mpi above one rank
  std::string compute = "auto";   // auto: the dtype of the weights
  std::string device = "auto";    // auto, cpu or cuda
  std::string kernel_set;         // empty: the best that all ranks have
  std::string placement;          // file; empty: contiguous
  std::string placement_json;     // read from it
  int32_t expert_slots = 0;       // per rank and layer; 0: what the placement needs
  std::string overlap = "auto";
  std::string plan = "fixed";     // fixed | coherent | auto
  std::string homes = "matched";  // matched | spread
  std::string kv_memory;          // "2GiB"; empty: from free memory
  int32_t kv_blocks = 0;          // instead of kv_memory
  int32_t max_model_len = 0;      // 0: the model's
  int32_t max_running = 256;
  int32_t max_step_tokens = 2048;
  int32_t max_queue = 1024;
  int32_t step_deadline_ms = 30000;
  std::string pipeline = "auto";  // on | off | auto
  bool prefix_cache = true;
  bool pin = true;
  std::string mpirun = "mpirun";
  std::string mpi_args;           // added to mpirun's command line
  int64_t force_preempt_seed = -1;
};

void add_group_flags(CLI::App& app, GroupOptions* options, bool need_model = true);

// Reads the placement file, finds the model folder that --model means, checks values. INVALID_ARGUMENT or NOT_FOUND with
// a sentence.
absl::Status prepare(GroupOptions* options);
std::string resolved_transport(const GroupOptions& options);
// The folder's description, checked against its weight files: weight_dtype is what is stored, whatever config.json says.
absl::StatusOr<model::ModelDescription> read_model(const std::string& folder);
// --max-model-len, or the model's window; INVALID_ARGUMENT if it is beyond the window or too short for any request.
absl::StatusOr<int32_t> resolved_max_model_len(const GroupOptions& options, const model::ModelSpec& spec);
ComputeType resolved_compute(const GroupOptions& options, const model::ModelSpec& spec);

// Everything of EngineOptions that comes from these flags and the model. tokenizer: names an end of
// text too; nullptr without one. What end_of_text() notes is logged as warnings.
absl::StatusOr<coordinator::EngineOptions> make_engine_options(const GroupOptions& options,
                                                               const model::ModelSpec& spec,
                                                               const coordinator::Tokenizer* tokenizer);

// Ranks as threads of this process (`--transport local` of the offline commands).
std::unique_ptr<coordinator::GroupTransport> make_thread_transport(const GroupOptions& options);

// "12", "12MiB", "1.5GB" -> bytes.
absl::StatusOr<uint64_t> parse_bytes(const std::string& text);

}  // namespace conclave::cli

#endif  // CONCLAVE_CLI_GROUP_OPTIONS_H_
