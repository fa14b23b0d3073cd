#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "cli/commands.h"
#include "cli/end_of_text.h"
#include "cli/exit_codes.h"
#include "cli/group_options.h"
#include "cli/progress_bar.h"
#include "coordinator/chat_template/chat_template.h"
#include "expert_placement/table/placement_table.h"
#include "kernels/cpu/machine_limits.h"
#include "kernels/device/thread_pool.h"
#include "model/model_folder.h"
#include "model/weights.h"

namespace conclave::cli {
namespace {

struct InspectOptions {
  GroupOptions group;
  bool no_measure = false;
  std::string output = "text";
};

struct Plan {
  uint64_t weight_bytes = 0;       // of the files
  uint64_t expert_bytes = 0;       // of one routed expert, as stored
  uint64_t rank_bytes = 0;         // weights of the fullest rank
  uint64_t kv_bytes_per_token = 0;
  uint64_t memory_available = 0;
  double read_bytes_per_second = 0;
  double active_bytes = 0;         // one token, batch 1
  double load_seconds = 0;
};

uint64_t available_memory() {
  std::ifstream in("/proc/meminfo");
  for (std::string key; in >> key;) {
    uint64_t kib = 0;
    if (key == "MemAvailable:" && in >> kib) return kib * 1024;
    in.ignore(1 << 12, '\n');
  }
  return 0;
}

// What a reader of the output needs beside the spec.
struct Report {
  Plan plan;
  std::string fingerprint;
  std::string name;            // without --served-model-name
  int32_t max_model_len = 0;   // what serve with these flags would take
  std::vector<int32_t> end_of_text;  // ids
  std::vector<std::string> notes;
};

std::string window_text(const model::ModelSpec& spec) {
  std::string text = absl::StrCat(spec.max_positions, " tokens: ", spec.window_source);
  int32_t sliding = 0, window = 0;
  for (const model::LayerSpec& layer : spec.layer) {
    if (layer.sliding_window == 0) continue;
    ++sliding;
    window = layer.sliding_window;
  }
  if (sliding > 0) absl::StrAppend(&text, "; ", sliding, " layers see the last ", window);
  return text;
}

absl::StatusOr<Plan> make_plan(const InspectOptions& o, const model::ModelSpec& spec, const model::Weights& weights) {
  Plan plan;
  const ComputeType compute = resolved_compute(o.group, spec);
  plan.weight_bytes = weights.total_bytes();
  const double stored = static_cast<double>(dtype_bytes(compute == ComputeType::kBF16 ? DType::kBF16 : spec.weight_dtype));
  plan.expert_bytes = static_cast<uint64_t>(static_cast<double>(spec.expert_parameters()) * stored);
  auto table = placement::PlacementTable::contiguous(spec.moe_layers(), spec.experts, o.group.ranks);
  if (!o.group.placement_json.empty()) {
    ASSIGN_OR_RETURN(table, placement::PlacementTable::from_json(o.group.placement_json, o.group.placement));
    RETURN_IF_ERROR(table.check_fits(spec.moe_layers(), spec.experts, o.group.ranks, weights.fingerprint()));
  }
  int64_t most = 0;
  for (int32_t rank = 0; rank < o.group.ranks; ++rank) {
    int64_t held = 0;
    for (int32_t layer = 0; layer < table.layers(); ++layer) held += static_cast<int64_t>(table.experts_of(layer, rank).size());
    most = std::max(most, held);
  }
  const int64_t routed = static_cast<int64_t>(spec.moe_layers().size()) * spec.experts;
  const double others = static_cast<double>(spec.total_parameters() - routed * spec.expert_parameters());
  plan.rank_bytes = static_cast<uint64_t>((others + static_cast<double>(most * spec.expert_parameters())) * stored);
  plan.kv_bytes_per_token = static_cast<uint64_t>(spec.kv_bytes_per_token(compute));
  plan.memory_available = available_memory();
  plan.active_bytes = static_cast<double>(spec.active_parameters()) * stored;
  if (!o.no_measure) {
    kernels::ThreadPoolOptions options;
    options.threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
    ASSIGN_OR_RETURN(const std::shared_ptr<kernels::ThreadPool> pool, kernels::ThreadPool::Create(options));
    plan.read_bytes_per_second = kernels::measure_read_bandwidth_bytes_per_second(*pool);
    // Loading reads each byte, writes it repacked and reads it from the page cache or disk before that.
    plan.load_seconds = static_cast<double>(plan.rank_bytes) * o.group.ranks * 3 / plan.read_bytes_per_second;
  }
  return plan;
}

void print_text(const InspectOptions& o, const model::ModelSpec& spec, const Report& report) {
  const Plan& plan = report.plan;
  const auto line = [](const char* name, const std::string& value) { std::printf("%-26s %s\n", name, value.c_str()); };
  line("model", o.group.model);
  line("name", report.name);
  line("family", absl::StrCat(spec.model_type, spec.ladder_residual ? ", ladder residual" : "",
                              spec.pre_gate_distance > 0 ? absl::StrCat(", pre-gated at distance ", spec.pre_gate_distance) : ""));
  line("fingerprint", report.fingerprint);
  line("layers", absl::StrCat(spec.layers, " (", spec.moe_layers().size(), " MoE), hidden ", spec.hidden, ", heads ", spec.heads,
                              "/", spec.kv_heads, " x ", spec.head_dim));
  line("experts", absl::StrCat(spec.experts, ", top ", spec.top_k, ", width ", spec.expert_width,
                               spec.shared_expert_width > 0 ? absl::StrCat(", shared ", spec.shared_expert_width) : ""));
  line("window", window_text(spec));
  if (report.max_model_len != spec.max_positions) line("longest sequence", absl::StrCat(report.max_model_len, " tokens (--max-model-len)"));
  line("rope", absl::StrCat(spec.rope.type, ", theta ", spec.rope.theta));
  line("ends at tokens", report.end_of_text.empty() ? "none" : absl::StrJoin(report.end_of_text, ", "));
  char numbers[96];
  std::snprintf(numbers, sizeof numbers, "%.3f B, %.3f B act on a token", static_cast<double>(spec.total_parameters()) / 1e9,
                static_cast<double>(spec.active_parameters()) / 1e9);
  line("parameters", numbers);
  line("weights", format_bytes(plan.weight_bytes));
  line("compute", compute_type_name(resolved_compute(o.group, spec)));
  line("one expert", format_bytes(plan.expert_bytes));
  line("fullest of the ranks", absl::StrCat(format_bytes(plan.rank_bytes), " of ", o.group.ranks, " rank(s)"));
  line("K/V per token", format_bytes(plan.kv_bytes_per_token));
  line("memory available here", format_bytes(plan.memory_available));
  const uint64_t all = plan.rank_bytes * static_cast<uint64_t>(o.group.ranks);
  if (all > plan.memory_available) {
    line("fits on this machine", "NO: use more hosts, fewer ranks or a smaller model");
  } else {
    const uint64_t tokens = (plan.memory_available - all) * 2 / 5 / std::max<uint64_t>(1, plan.kv_bytes_per_token);
    line("fits on this machine", absl::StrCat("yes, with room for about ", tokens, " tokens of K/V"));
  }
  if (plan.read_bytes_per_second > 0) {
    std::snprintf(numbers, sizeof numbers, "%.1f GB/s", plan.read_bytes_per_second / 1e9);
    line("read bandwidth here", numbers);
    std::snprintf(numbers, sizeof numbers, "%.1f tokens/s", plan.read_bytes_per_second / plan.active_bytes);
    line("decode limit at batch 1", numbers);
    std::snprintf(numbers, sizeof numbers, "%.1f s from a warm page cache", plan.load_seconds);
    line("loading, about", numbers);
  }
  for (const std::string& note : report.notes) std::printf("note: %s\n", note.c_str());
}

// What is wrong with the folder's chat template, in sentences; empty if it is fine.
std::vector<std::string> chat_template_notes(const std::string& folder) {
  const auto chat_template = coordinator::ChatTemplate::from_folder(folder);
  if (chat_template.ok()) return (*chat_template)->warnings();
  return {std::string(chat_template.status().message())};
}

void note_end_of_text(const std::string& folder, const model::ModelSpec& spec, Report* report) {
  std::string unreadable;
  const auto tokenizer = tokenizer_if_readable(folder, &unreadable);
  if (!unreadable.empty()) report->notes.push_back(std::move(unreadable));
  EndOfText end = end_of_text(spec, tokenizer.get());
  report->end_of_text = std::move(end.ids);
  for (std::string& note : end.notes) report->notes.push_back(std::move(note));
}

void print_json(const InspectOptions& o, const model::ModelSpec& spec, const Report& report) {
  const Plan& plan = report.plan;
  nlohmann::ordered_json json{{"model", o.group.model},
                              {"name", report.name},
                              {"model_type", spec.model_type},
                              {"fingerprint", report.fingerprint},
                              {"window", spec.max_positions},
                              {"window_source", spec.window_source},
                              {"max_model_len", report.max_model_len},
                              {"rope_type", spec.rope.type},
                              {"rope_theta", spec.rope.theta},
                              {"eos_token_ids", report.end_of_text},
                              {"layers", spec.layers},
                              {"moe_layers", spec.moe_layers()},
                              {"experts", spec.experts},
                              {"top_k", spec.top_k},
                              {"ladder_residual", spec.ladder_residual},
                              {"pre_gate_distance", spec.pre_gate_distance},
                              {"parameters", spec.total_parameters()},
                              {"active_parameters", spec.active_parameters()},
                              {"weight_bytes", plan.weight_bytes},
                              {"expert_bytes", plan.expert_bytes},
                              {"rank_bytes", plan.rank_bytes},
                              {"ranks", o.group.ranks},
                              {"kv_bytes_per_token", plan.kv_bytes_per_token},
                              {"memory_available_bytes", plan.memory_available}};
  if (plan.read_bytes_per_second > 0) {
    json["read_bytes_per_second"] = plan.read_bytes_per_second;
    json["decode_limit_tokens_per_second"] = plan.read_bytes_per_second / plan.active_bytes;
    json["load_seconds"] = plan.load_seconds;
  }
  json["notes"] = report.notes;
  std::puts(json.dump(2).c_str());
}

absl::Status inspect(InspectOptions o) {
  RETURN_IF_ERROR(prepare(&o.group));
  ASSIGN_OR_RETURN(model::ModelDescription description, model::read_model_description(o.group.model));
  ASSIGN_OR_RETURN(const auto weights, model::Weights::open(o.group.model, &description.spec));
  Report report;
  report.fingerprint = weights->fingerprint();
  report.name = model::model_folder_name(o.group.model);
  ASSIGN_OR_RETURN(report.max_model_len, resolved_max_model_len(o.group, description.spec));
  ASSIGN_OR_RETURN(report.plan, make_plan(o, description.spec, *weights));
  report.notes = description.spec.notes;
  note_end_of_text(o.group.model, description.spec, &report);
  for (std::string& note : chat_template_notes(o.group.model)) report.notes.push_back(std::move(note));
  for (const std::string& name : weights->ignored()) {
    report.notes.push_back(absl::StrCat("tensor ", name, " is not used by this family as config.json describes it"));
  }
  if (!description.generation.unsupported.ok()) {
    report.notes.push_back("serve refuses " + std::string(description.generation.unsupported.message()));
  }
  if (o.output == "json") {
    print_json(o, description.spec, report);
  } else {
    print_text(o, description.spec, report);
  }
  return absl::OkStatus();
}

}  // namespace

void add_inspect_command(CLI::App& app, int* exit_code) {
  auto o = std::make_shared<InspectOptions>();
  CLI::App* command = app.add_subcommand("inspect", "Check a model folder; its memory and time plan before loading");
  command->footer(std::string(kExitCodeHelp));
  add_group_flags(*command, &o->group);
  command->add_flag("--no-measure", o->no_measure, "do not measure this machine's read bandwidth");
  command->add_option("-o,--output", o->output, "text or json")->check(CLI::IsMember({"text", "json"}));
  command->callback([o, exit_code] { *exit_code = report(inspect(*o)); });
}

}  // namespace conclave::cli
