#include "cli/group_options.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/host_port.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "cli/end_of_text.h"
#include "cli/kernel_sets.h"
#include "model/model_folder.h"
#include "model/weights.h"

namespace conclave::cli {
namespace {

absl::Status check_choice(const std::string& flag, const std::string& value, const std::vector<std::string>& allowed) {
  std::string list;
  for (const std::string& choice : allowed) {
    if (value == choice) return absl::OkStatus();
    list += (list.empty() ? "" : ", ") + choice;
  }
  return absl::InvalidArgumentError(absl::StrCat(flag, " is \"", value, "\", expected one of ", list));
}

}  // namespace

void add_group_flags(CLI::App& app, GroupOptions* o, bool need_model) {
  auto* model = app.add_option("-m,--model", o->model, "model folder (config.json, *.safetensors, tokenizer.json)")
                    ->envname("CONCLAVE_MODEL");
  if (need_model) model->required();
  o->need_model = need_model;
  app.add_option("-r,--ranks", o->ranks, "ranks of the worker group")->envname("CONCLAVE_RANKS");
  app.add_option("-t,--threads", o->threads, "threads of each rank; 0: cores of the host / its ranks")
      ->envname("CONCLAVE_THREADS");
  app.add_option("--transport", o->transport, "mpi, local (ranks are threads) or auto (mpi above one rank)")
      ->envname("CONCLAVE_TRANSPORT");
  app.add_option("--compute", o->compute, "f32, bf16 or auto (as the weights are stored)")->envname("CONCLAVE_COMPUTE");
  app.add_option("--device", o->device, kDeviceHelp)->envname("CONCLAVE_DEVICE");
  app.add_option("--kernel-set", o->kernel_set, "override the best kernel set that all ranks have")
      ->envname("CONCLAVE_KERNEL_SET");
  app.add_option("--placement", o->placement, "expert placement table (JSON); default: contiguous")
      ->envname("CONCLAVE_PLACEMENT");
  app.add_option("--expert-slots", o->expert_slots,
                 "experts that a rank has room for in each layer, for replicas of later placements; 0: as the placement")
      ->envname("CONCLAVE_EXPERT_SLOTS")->check(CLI::Range(0, 1 << 20));
  app.add_option("--plan", o->plan,
                 "fixed: a sequence has a home rank; coherent: K/V on every rank, tokens follow their experts; auto: the "
                 "cheaper by measured transport figures")
      ->envname("CONCLAVE_PLAN");
  app.add_option("--homes", o->homes,
                 "fixed plan, after a prompt: matched moves a sequence to the rank of most of its experts; spread leaves it")
      ->envname("CONCLAVE_HOMES");
  app.add_option("--overlap", o->overlap, "overlap exchange with computation: on, off or auto")
      ->envname("CONCLAVE_OVERLAP");
  app.add_option("--pipeline", o->pipeline,
                 "on: plan a decode step while the one before runs, with its tokens still on their "
                 "ranks; off: one step at a time; auto: on with GPUs")
      ->envname("CONCLAVE_PIPELINE");
  app.add_option("--kv-memory", o->kv_memory, "K/V memory of each rank, for example 2GiB; default: a share of free memory")
      ->envname("CONCLAVE_KV_MEMORY");
  app.add_option("--kv-blocks", o->kv_blocks, "K/V blocks of 16 tokens of each rank, instead of --kv-memory")
      ->envname("CONCLAVE_KV_BLOCKS")->check(CLI::Range(0, 1 << 24));
  app.add_option("--max-model-len", o->max_model_len, "longest prompt + output in tokens, from 2; 0: the model's window")
      ->envname("CONCLAVE_MAX_MODEL_LEN");
  app.add_option("--max-running", o->max_running, "most sequences in a step")->envname("CONCLAVE_MAX_RUNNING");
  app.add_option("--max-step-tokens", o->max_step_tokens, "most tokens in a step (chunked prefill budget)")
      ->envname("CONCLAVE_MAX_STEP_TOKENS");
  app.add_option("--step-deadline-ms", o->step_deadline_ms, "a step that takes longer fails its group")
      ->envname("CONCLAVE_STEP_DEADLINE_MS");
  app.add_flag("--prefix-cache,!--no-prefix-cache", o->prefix_cache, "reuse K/V blocks of equal prompt beginnings")
      ->envname("CONCLAVE_PREFIX_CACHE");
  app.add_flag("--pin,!--no-pin", o->pin, "pin compute threads to cores")->envname("CONCLAVE_PIN");
  app.add_option("--mpirun", o->mpirun, "program that starts the ranks")->envname("CONCLAVE_MPIRUN");
  app.add_option("--mpi-args", o->mpi_args, "further arguments of mpirun, in one string")->envname("CONCLAVE_MPI_ARGS");
  app.add_option("--force-preempt-seed", o->force_preempt_seed, "testing: preempt running sequences at random")
      ->group("");
}

absl::StatusOr<uint64_t> parse_bytes(const std::string& text) {
  size_t used = 0;
  double number = 0;
  try {
    number = std::stod(text, &used);
  } catch (const std::exception&) {
    used = 0;
  }
  const std::string unit = text.substr(used);
  double factor = -1;
  if (unit.empty() || unit == "B") factor = 1;
  if (unit == "K" || unit == "KiB") factor = 1024.0;
  if (unit == "M" || unit == "MiB") factor = 1024.0 * 1024;
  if (unit == "G" || unit == "GiB") factor = 1024.0 * 1024 * 1024;
  if (unit == "kB" || unit == "KB") factor = 1e3;
  if (unit == "MB") factor = 1e6;
  if (unit == "GB") factor = 1e9;
  if (used == 0 || factor < 0 || !(number >= 0) || number * factor > 1e18) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", text, "\" is no memory size; write for example 512MiB or 2GiB"));
  }
  return static_cast<uint64_t>(number * factor);
}

std::string resolved_transport(const GroupOptions& o) {
  return o.transport == "auto" ? (o.ranks > 1 ? "mpi" : "local") : o.transport;
}

absl::StatusOr<model::ModelDescription> read_model(const std::string& folder) {
  ASSIGN_OR_RETURN(model::ModelDescription description, model::read_model_description(folder));
  RETURN_IF_ERROR(model::Weights::open(folder, &description.spec).status());
  return description;
}

ComputeType resolved_compute(const GroupOptions& o, const model::ModelSpec& spec) {
  if (o.compute == "f32") return ComputeType::kF32;
  if (o.compute == "bf16") return ComputeType::kBF16;
  return spec.weight_dtype == DType::kBF16 ? ComputeType::kBF16 : ComputeType::kF32;
}

absl::StatusOr<int32_t> resolved_max_model_len(const GroupOptions& o, const model::ModelSpec& spec) {
  const int32_t length = o.max_model_len > 0 ? o.max_model_len : spec.max_positions;
  if (length > spec.max_positions) {
    return absl::InvalidArgumentError(absl::StrCat("--max-model-len is ", length, ", but the model's window is ",
                                                   spec.max_positions, " tokens (", spec.window_source, ")"));
  }
  if (length < 2) {
    return absl::InvalidArgumentError(absl::StrCat(
        o.max_model_len > 0 ? "--max-model-len" : "the model's window", " is ", length,
        ", expected at least 2: a token of the prompt and one of the answer"));
  }
  return length;
}

absl::Status prepare(GroupOptions* o) {
  RETURN_IF_ERROR(check_choice("--transport", o->transport, {"auto", "mpi", "local"}));
  RETURN_IF_ERROR(check_choice("--compute", o->compute, {"auto", "f32", "bf16"}));
  RETURN_IF_ERROR(check_choice("--device", o->device, {"auto", "cpu", "cuda"}));
  RETURN_IF_ERROR(check_choice("--overlap", o->overlap, {"auto", "on", "off"}));
  RETURN_IF_ERROR(check_choice("--plan", o->plan, {"fixed", "coherent", "auto"}));
  RETURN_IF_ERROR(check_choice("--homes", o->homes, {"matched", "spread"}));
  RETURN_IF_ERROR(check_choice("--pipeline", o->pipeline, {"auto", "on", "off"}));
  const std::pair<const char*, int32_t> at_least_one[] = {
      {"--ranks", o->ranks}, {"--max-running", o->max_running}, {"--max-step-tokens", o->max_step_tokens},
      {"--step-deadline-ms", o->step_deadline_ms}, {"--max-queue", o->max_queue}};
  for (const auto& [flag, value] : at_least_one) {
    if (value < 1) return absl::InvalidArgumentError(absl::StrCat(flag, " is ", value, ", expected at least 1"));
  }
  const std::pair<const char*, int32_t> not_negative[] = {
      {"--threads", o->threads}, {"--kv-blocks", o->kv_blocks}, {"--max-model-len", o->max_model_len}};
  for (const auto& [flag, value] : not_negative) {
    if (value < 0) return absl::InvalidArgumentError(absl::StrCat(flag, " is ", value, ", expected 0 or more"));
  }
  if (o->ranks > 4096) return absl::InvalidArgumentError(absl::StrCat("--ranks is ", o->ranks, ", expected at most 4096"));
  if (o->need_model || !o->model.empty()) {
    ASSIGN_OR_RETURN(o->model, model::resolve_model_folder(o->model));
  }
  if (!o->placement.empty()) {
    ASSIGN_OR_RETURN(o->placement_json, read_file(o->placement, size_t{256} << 20));
  }
  return absl::OkStatus();
}

namespace {

coordinator::PlanCosts plan_costs(const model::ModelSpec& spec, ComputeType compute) {
  coordinator::PlanCosts costs;
  costs.experts = spec.experts;
  costs.top_k = spec.top_k;
  costs.layers = spec.layers;
  costs.moe_layers = static_cast<int32_t>(spec.moe_layers().size());
  costs.row_bytes = static_cast<double>(spec.hidden) * static_cast<double>(dtype_bytes(activation_dtype(compute)));
  costs.state_bytes = 4.0 * spec.hidden * (spec.ladder_residual ? 2 : 1);
  costs.kv_bytes = 2.0 * 4.0 * spec.kv_heads * spec.head_dim;
  return costs;
}

// A few tokens from all over the vocabulary: none of them means anything to a model, all have embeddings.
std::vector<int32_t> startup_prompt(int32_t vocab) {
  std::vector<int32_t> prompt;
  for (const int32_t eighths : {3, 5, 1, 6}) prompt.push_back(static_cast<int32_t>(int64_t{vocab} * eighths / 8));
  return prompt;
}

}  // namespace

absl::StatusOr<coordinator::EngineOptions> make_engine_options(const GroupOptions& o, const model::ModelSpec& spec,
                                                               const coordinator::Tokenizer* tokenizer) {
  coordinator::EngineOptions e;
  e.ranks = o.ranks;
  e.transport = resolved_transport(o);
  e.threads_per_rank = o.threads;
  e.pin_threads = o.pin;
  e.configure.model_path = o.model;
  e.configure.kernel_set = o.kernel_set;
  e.configure.compute = resolved_compute(o, spec);
  e.configure.placement_json = o.placement_json;
  e.configure.overlap = o.overlap;
  e.configure.expert_slots = o.expert_slots;
  e.configure.plan = o.plan;
  e.match_homes = o.homes == "matched";
  e.plan_costs = plan_costs(spec, e.configure.compute);
  e.moe_layers = spec.moe_layers();
  e.experts = spec.experts;
  e.configure.kv_blocks = o.kv_blocks;
  if (!o.kv_memory.empty()) {
    ASSIGN_OR_RETURN(e.configure.kv_memory_bytes, parse_bytes(o.kv_memory));
  }
  for (const std::string& note : spec.notes) log_warning(note);
  EndOfText end = end_of_text(spec, tokenizer);
  e.eos_ids = std::move(end.ids);
  for (const std::string& note : end.notes) log_warning(note);
  ASSIGN_OR_RETURN(e.max_model_len, resolved_max_model_len(o, spec));
  e.max_running = o.max_running;
  e.max_queue = o.max_queue;
  e.max_step_tokens = o.max_step_tokens;
  e.prefix_cache = o.prefix_cache;
  if (o.pipeline != "auto") e.pipeline = o.pipeline == "on";
  e.step_deadline_ms = o.step_deadline_ms;
  e.vocab = spec.vocab;
  e.startup_prompt = startup_prompt(spec.vocab);
  if (o.force_preempt_seed >= 0) e.force_preempt_seed = static_cast<uint64_t>(o.force_preempt_seed);
  return e;
}

}  // namespace conclave::cli
