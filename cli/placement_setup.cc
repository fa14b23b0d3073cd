#include "cli/placement_setup.h"

#include <CLI/CLI.hpp>
#include <chrono>

#include "absl/strings/str_cat.h"
#include "base/dtype.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "model/weights.h"

namespace conclave::cli {
namespace {

std::chrono::milliseconds from_seconds(double seconds) {
  return std::chrono::milliseconds(static_cast<int64_t>(1e3 * seconds));
}

placement::ExpertCost expert_cost(const model::ModelSpec& spec, ComputeType compute) {
  const auto element = static_cast<double>(dtype_bytes(activation_dtype(compute)));
  const double parameters = 3.0 * spec.hidden * spec.expert_width;
  placement::ExpertCost cost;
  cost.row_bytes = element * spec.hidden;
  cost.weight_bytes = element * parameters;
  cost.flops = 2 * parameters;
  return cost;
}

// Tells the ranks which of them share a machine, so that a token uses the nearest copy: the table of the start says it.
absl::Status spread_over_nodes(int32_t nodes, const model::ModelSpec& spec, coordinator::EngineOptions* options) {
  if (nodes == 1) return absl::OkStatus();
  ASSIGN_OR_RETURN(const placement::ClusterSpec cluster, placement::ClusterSpec::even(options->ranks, nodes));
  auto table = placement::PlacementTable::contiguous(spec.moe_layers(), spec.experts, options->ranks);
  if (!options->configure.placement_json.empty()) {
    ASSIGN_OR_RETURN(table, placement::PlacementTable::from_json(options->configure.placement_json, "--placement"));
    // A table of another group is refused, with its own words, by whoever uses it.
    if (table.ranks() != options->ranks) return absl::OkStatus();
  }
  table.set_ranks_per_node(cluster.ranks_per_node);
  options->configure.placement_json = table.to_json();
  return absl::OkStatus();
}

void say_unused(const char* what, const absl::Status& why) {
  if (absl::IsNotFound(why)) return;  // nothing was saved
  log_warning(absl::StrCat("the saved ", what, " is not used"), {{"why", std::string(why.message())}});
}

// Goes on from what the coordinator before this one left; a flag of this start wins, and what does not fit is said and left alone.
absl::Status carry_over(const PlacementOptions& o, const model::ModelSpec& spec, const coordinator::PlacementStore& store,
                        coordinator::EngineOptions* engine_options, std::optional<placement::RoutingProfile>* profile) {
  model::ModelSpec checked = spec;
  ASSIGN_OR_RETURN(const auto weights, model::Weights::open(engine_options->configure.model_path, &checked));
  const coordinator::PlacementIdentity wanted{{spec.moe_layers(), spec.experts, spec.top_k},
                                              engine_options->ranks,
                                              weights->fingerprint(),
                                              engine_options->configure.expert_slots};
  if (engine_options->configure.placement_json.empty()) {
    absl::StatusOr<placement::PlacementTable> table = store.load_table(wanted);
    if (table.ok()) {
      log_info("going on with the saved placement", {{"epoch", absl::StrCat(table->epoch())}});
      table->set_ranks_per_node({});
      engine_options->configure.placement_json = table->to_json();
    } else {
      say_unused("placement", table.status());
    }
  }
  if (!o.profile.empty()) return absl::OkStatus();
  absl::StatusOr<placement::RoutingProfile> saved = store.load_profile(wanted);
  if (saved.ok()) {
    log_info("going on with the saved routing profile", {{"tokens", absl::StrCat(static_cast<int64_t>(saved->tokens()))}});
    *profile = *std::move(saved);
  } else {
    say_unused("routing profile", saved.status());
  }
  return absl::OkStatus();
}

}  // namespace

void add_placement_flags(CLI::App& app, PlacementOptions* o) {
  app.add_option("--replan", o->replan, "move experts by itself when balance or locality drift: auto or off")
      ->envname("CONCLAVE_REPLAN")->check(CLI::IsMember({"off", "auto"}));
  app.add_option("--replan-period-s", o->replan_period_s, "how often it looks")->check(CLI::Range(0.1, 1e6));
  app.add_option("--replan-cooldown-s", o->replan_cooldown_s, "how long a new placement is left alone")
      ->check(CLI::Range(0.0, 1e6));
  app.add_option("--replan-objective", o->objective, "transitions, messages or time")
      ->check(CLI::IsMember({"transitions", "messages", "time"}));
  app.add_option("--replan-max-imbalance", o->max_imbalance, "most expert rows of a rank over the mean, in each layer")
      ->check(CLI::Range(1.0, 1e6));
  app.add_option("--replan-time-limit-s", o->time_limit_s, "of the solver")->check(CLI::Range(0.01, 3600.0));
  app.add_option("--replan-migration-share", o->migration_share, "share of all experts that one re-placement may move; also of plans made by hand, unless they name a budget")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--profile", o->profile, "routing profile to start from (saved by a cluster, or conclave profile)");
  app.add_option("--profile-half-life-s", o->profile_half_life_s, "after so long what routers chose counts half")
      ->check(CLI::Range(1.0, 1e7));
  app.add_option("--profile-report-ms", o->profile_report_ms, "how often ranks report what routers chose; 0: never")
      ->envname("CONCLAVE_PROFILE_REPORT_MS")->check(CLI::Range(0, 1 << 30));
  app.add_option("--nodes", o->nodes, "machines that the ranks are spread over, for placement")->check(CLI::Range(1, 1 << 16));
  app.add_option("--record-routing", o->record_routing,
                 "write what the routers chose for every row, and where it was, to this .safetensors file at the end: for conclave "
                 "traffic, place --trace, profile --trace");
  app.add_option("--record-rows", o->record_rows,
                 "most rows that --record-routing keeps (2 x MoE layers x top-k + 25 bytes each); what follows is not recorded")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 32));
}

absl::StatusOr<std::unique_ptr<coordinator::PlacementManager>> make_placement_manager(
    const PlacementOptions& o, const model::ModelSpec& spec, coordinator::EngineOptions* engine_options) {
  std::unique_ptr<coordinator::PlacementManager> manager;
  if (spec.moe_layers().empty()) return manager;
  coordinator::PlacementManager::Options options;
  options.window.shape = {spec.moe_layers(), spec.experts, spec.top_k};
  options.window.half_life_seconds = o.profile_half_life_s;
  options.cost = expert_cost(spec, engine_options->configure.compute);
  options.automatic.on = o.replan == "auto";
  options.automatic.period = from_seconds(o.replan_period_s);
  options.automatic.cooldown = from_seconds(o.replan_cooldown_s);
  options.automatic.migration_share = o.migration_share;
  coordinator::PlanRequest& request = options.automatic.request;
  request.objective = o.objective == "messages" ? placement::Objective::kMessages
                      : o.objective == "time"   ? placement::Objective::kTime
                                                : placement::Objective::kTransitions;
  request.max_imbalance = o.max_imbalance;
  request.time_limit_seconds = o.time_limit_s;
  options.solve = placement::solve;
  std::optional<placement::RoutingProfile> profile;
  if (!o.state_folder.empty()) {
    options.store = std::make_shared<coordinator::PlacementStore>(o.state_folder);
    RETURN_IF_ERROR(carry_over(o, spec, *options.store, engine_options, &profile));
  }
  if (!o.profile.empty()) {
    ASSIGN_OR_RETURN(profile, placement::RoutingProfile::load(o.profile));
  }
  RETURN_IF_ERROR(spread_over_nodes(o.nodes, spec, engine_options));
  ASSIGN_OR_RETURN(manager, coordinator::PlacementManager::create(std::move(options)));
  if (profile) RETURN_IF_ERROR(manager->load_profile(*profile));
  engine_options->recorded_traffic = [manager = manager.get()](const placement::PlacementTable& table) {
    return manager->recorded_traffic(table);
  };
  engine_options->routing_report_ms = o.profile_report_ms;
  engine_options->on_routing = [manager = manager.get()](std::vector<protocol::RoutingCounts> counts) {
    manager->add_routing(std::move(counts));
  };
  return manager;
}

absl::StatusOr<std::unique_ptr<coordinator::RoutingRecorder>> make_routing_recorder(
    const PlacementOptions& o, const GroupOptions& group, const model::ModelSpec& spec,
    coordinator::EngineOptions* engine_options) {
  std::unique_ptr<coordinator::RoutingRecorder> recorder;
  if (o.record_routing.empty()) return recorder;
  if (spec.moe_layers().empty()) return absl::InvalidArgumentError("--record-routing: the model has no routed experts");
  if (group.device == "cuda") return absl::InvalidArgumentError("--record-routing is for the CPU; ranks on GPUs do not report every row");
  const coordinator::PlanCosts& costs = engine_options->plan_costs;
  coordinator::RoutingRecorder::Options options;
  options.moe_layers = static_cast<int32_t>(spec.moe_layers().size());
  options.experts = spec.experts;
  options.top_k = spec.top_k;
  options.layers = spec.layers;
  options.wire = {static_cast<int64_t>(costs.row_bytes), static_cast<int64_t>(costs.state_bytes),
                  static_cast<int64_t>(costs.kv_bytes)};
  options.max_rows = o.record_rows;
  recorder = std::make_unique<coordinator::RoutingRecorder>(options);
  // Nobody shall learn at the end of a long run that the file cannot be written.
  RETURN_IF_ERROR(recorder->save(o.record_routing));
  engine_options->recorder = recorder.get();
  return recorder;
}

}  // namespace conclave::cli
