#include "coordinator/admin/placement_routes.h"

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/admin/admin_json.h"

namespace conclave::coordinator {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;
using Responder = std::shared_ptr<HttpResponder>;

absl::StatusOr<json> parse_body(const std::string& body) {
  if (body.empty()) return json::object();
  json parsed = json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (parsed.is_object()) return parsed;
  return absl::InvalidArgumentError("the request body is not a JSON object");
}

template <typename T>
absl::Status read_number(const json& body, const char* key, T low, T high, T* value) {
  const auto it = body.find(key);
  if (it == body.end() || it->is_null()) return absl::OkStatus();
  const bool right = std::is_integral_v<T> ? it->is_number_integer() : it->is_number();
  if (right && it->get<double>() >= static_cast<double>(low) &&
      it->get<double>() <= static_cast<double>(high)) {
    *value = it->get<T>();
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("\"", key, "\" is ", it->dump(), ", expected ",
                                                 std::is_integral_v<T> ? "an integer" : "a number",
                                                 " from ", low, " to ", high));
}

absl::StatusOr<std::string> read_text(const json& body, const char* key, std::string otherwise) {
  const auto it = body.find(key);
  if (it == body.end() || it->is_null()) return otherwise;
  if (it->is_string()) return it->get<std::string>();
  return absl::InvalidArgumentError(absl::StrCat("\"", key, "\" must be a string"));
}

absl::StatusOr<bool> read_flag(const json& body, const char* key) {
  const auto it = body.find(key);
  if (it == body.end() || it->is_null()) return false;
  if (it->is_boolean()) return it->get<bool>();
  return absl::InvalidArgumentError(absl::StrCat("\"", key, "\" must be true or false"));
}

constexpr std::pair<const char*, placement::Objective> kObjectives[] = {
    {"transitions", placement::Objective::kTransitions},
    {"messages", placement::Objective::kMessages},
    {"time", placement::Objective::kTime}};
constexpr std::pair<const char*, placement::SolverKind> kSolvers[] = {
    {"auto", placement::SolverKind::kAuto},
    {"search", placement::SolverKind::kSearch},
    {"ilp", placement::SolverKind::kIlp},
    {"exact", placement::SolverKind::kExact},
    {"contiguous", placement::SolverKind::kContiguous},
    {"round_robin", placement::SolverKind::kRoundRobin},
    {"eplb", placement::SolverKind::kEplb},
    {"flow", placement::SolverKind::kFlow}};

template <typename Value, size_t n>
absl::Status choose(const json& body, const char* key,
                    const std::pair<const char*, Value> (&choices)[n], Value* value) {
  ASSIGN_OR_RETURN(const std::string name, read_text(body, key, choices[0].first));
  std::string names;
  for (const auto& [choice, meaning] : choices) {
    if (name == choice) *value = meaning;
    if (name == choice) return absl::OkStatus();
    absl::StrAppend(&names, names.empty() ? "" : ", ", choice);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("\"", key, "\" is \"", name, "\", expected one of ", names));
}

// Absent: the default of the cluster.
absl::StatusOr<std::optional<int64_t>> read_budget(const json& body) {
  const auto it = body.find("migration_budget");
  if (it == body.end() || it->is_null()) return std::nullopt;
  if (it->is_string() && it->get<std::string>() == "all") return PlanRequest::kAnyNumber;
  if (it->is_number_integer() && it->get<double>() >= 0 && it->get<double>() <= 1e12)
    return it->get<int64_t>();
  return absl::InvalidArgumentError(
      absl::StrCat("\"migration_budget\" is ", it->dump(),
                   ", expected a number of experts from 0 on or \"all\""));
}

absl::StatusOr<PlanRequest> parse_plan_request(const json& body) {
  PlanRequest request;
  RETURN_IF_ERROR(choose(body, "objective", kObjectives, &request.objective));
  RETURN_IF_ERROR(choose(body, "solver", kSolvers, &request.solver));
  RETURN_IF_ERROR(read_number(body, "max_imbalance", 1.0, 1e6, &request.max_imbalance));
  RETURN_IF_ERROR(read_number(body, "time_limit_s", 0.01, 3600.0, &request.time_limit_seconds));
  if (body.contains("replicas") && !body["replicas"].is_null()) {
    RETURN_IF_ERROR(read_number(body, "replicas", 0, 1 << 20, &request.replicas.emplace()));
  }
  ASSIGN_OR_RETURN(request.migration_budget, read_budget(body));
  return request;
}

ordered_json view_json(const PlacementView& view, placement::Plan plan) {
  const PlacementStatus& status = view.status;
  ordered_json out{{"version", 1}, {"kind", "placement"}, {"epoch", 0}};
  out["plan"] = plan == placement::Plan::kCoherent ? "coherent" : "fixed";
  out["auto"] = view.automatic;
  out["table"] = nullptr;
  out["previous_epoch"] = nullptr;
  out["pending"] = nullptr;
  if (status.table != nullptr) {
    out["epoch"] = status.table->epoch();
    out["table"] = ordered_json::parse(status.table->to_json());
  }
  if (view.previous_epoch) out["previous_epoch"] = *view.previous_epoch;
  if (status.applying) {
    out["pending"] = {{"epoch", status.target_epoch}, {"stages_left", status.stages_left}};
  }
  out["balance"] = view.balance;
  out["remote_fraction"] = status.remote_fraction;
  out["expert_slots"] = status.expert_slots;
  out["last_pause_ms"] = 1e3 * status.last_pause_seconds;
  out["last_failure"] = status.last_failure;
  out["profiled_tokens"] = view.profiled_tokens;
  return out;
}

ordered_json plan_json(const PlannedPlacement& planned) {
  const placement::Solution& solution = planned.solution;
  ordered_json out{{"version", 1}, {"kind", "placement_plan"}, {"plan_id", planned.id}};
  out["solver"] = solution.solver;
  out["objective_before"] = solution.objective_before;
  out["objective_after"] = solution.objective_after;
  out["bound"] = nullptr;
  out["gap"] = nullptr;
  if (solution.lower_bound) out["bound"] = *solution.lower_bound;
  if (solution.lower_bound && solution.objective_after > 0) {
    out["gap"] = 1 - *solution.lower_bound / solution.objective_after;
  }
  out["balance"] = solution.balance;
  out["moved_experts"] = solution.moved_experts;
  out["migration_budget"] = planned.migration_budget;
  if (planned.migration_budget == PlanRequest::kAnyNumber) out["migration_budget"] = "all";
  out["replicas"] = planned.replicas;
  out["bytes_to_move"] = planned.bytes_to_move;
  out["predicted_pause_ms"] = 1e3 * planned.predicted_pause_seconds;
  out["seconds"] = solution.seconds;
  out["table"] = ordered_json::parse(solution.table.to_json());
  return out;
}

void respond_applied(HttpResponder& responder, const absl::StatusOr<AppliedPlacement>& applied) {
  if (!applied.ok()) return respond_status(responder, applied.status());
  const ordered_json out{{"version", 1},
                         {"kind", "placement_applied"},
                         {"state", applied->state},
                         {"epoch", applied->epoch},
                         {"moved_experts", applied->moved_experts},
                         {"bytes_to_move", applied->bytes_to_move},
                         {"predicted_pause_ms", 1e3 * applied->predicted_pause_seconds}};
  respond_json(responder, applied->state == "applying" ? 202 : 200, out.dump());
}

void handle_plan(PlacementManager& manager, const std::string& text, Responder responder) {
  const absl::StatusOr<json> body = parse_body(text);
  if (!body.ok()) return respond_status(*responder, body.status());
  const absl::StatusOr<PlanRequest> request = parse_plan_request(*body);
  if (!request.ok()) return respond_status(*responder, request.status());
  manager.run_later([&manager, request = *request, responder = std::move(responder)] {
    const absl::StatusOr<PlannedPlacement> planned = manager.plan(request);
    if (!planned.ok()) return respond_status(*responder, planned.status());
    respond_json(*responder, 200, plan_json(*planned).dump());
  });
}

absl::StatusOr<AppliedPlacement> apply_as_told(PlacementManager& manager, const std::string& text) {
  ASSIGN_OR_RETURN(const json body, parse_body(text));
  ASSIGN_OR_RETURN(const bool dry_run, read_flag(body, "dry_run"));
  ASSIGN_OR_RETURN(const std::string plan, read_text(body, "plan_id", ""));
  const auto table = body.find("table");
  const bool has_table = table != body.end() && !table->is_null();
  if (plan.empty() != has_table) {
    return absl::InvalidArgumentError("give either \"plan_id\" or \"table\"");
  }
  if (!has_table) return manager.apply_plan(plan, dry_run);
  ASSIGN_OR_RETURN(const placement::PlacementTable parsed,
                   placement::PlacementTable::from_json(table->dump(), "\"table\""));
  return manager.apply(parsed, dry_run);
}

absl::StatusOr<AppliedPlacement> roll_back(PlacementManager& manager, const std::string& text) {
  ASSIGN_OR_RETURN(const json body, parse_body(text));
  ASSIGN_OR_RETURN(const bool dry_run, read_flag(body, "dry_run"));
  return manager.rollback(dry_run);
}

absl::StatusOr<std::string> document_name(const json& body) {
  if (body.contains("path")) {
    return absl::InvalidArgumentError(
        "\"path\" is not taken: give the \"name\" of a document in the coordinator's own folder "
        "(--state-dir); GET /admin/v1/profile is the profile itself, to be written wherever you "
        "like");
  }
  return read_text(body, "name", "");
}

// The document's path.
absl::StatusOr<std::string> save_profile(PlacementManager& manager, const DocumentFolder& documents,
                                         const std::string& text) {
  ASSIGN_OR_RETURN(const json body, parse_body(text));
  ASSIGN_OR_RETURN(const std::string name, document_name(body));
  const placement::RoutingProfile profile = manager.profile();
  return documents.save(name, [&](const std::string& path) { return profile.save(path); });
}

absl::Status load_profile(PlacementManager& manager, const DocumentFolder& documents,
                          const std::string& text) {
  ASSIGN_OR_RETURN(const json body, parse_body(text));
  ASSIGN_OR_RETURN(const std::string name, document_name(body));
  const auto sent = body.find("profile");
  const bool has_profile = sent != body.end() && !sent->is_null();
  if (has_profile == body.contains("name"))
    return absl::InvalidArgumentError("give either \"name\" or \"profile\"");
  if (has_profile) {
    ASSIGN_OR_RETURN(const placement::RoutingProfile profile,
                     placement::RoutingProfile::from_json(sent->dump(), "\"profile\""));
    return manager.load_profile(profile);
  }
  ASSIGN_OR_RETURN(const std::string path, documents.find(name));
  ASSIGN_OR_RETURN(const placement::RoutingProfile profile, placement::RoutingProfile::load(path));
  return manager.load_profile(profile);
}

void set_profiling(PlacementManager& manager, bool on, HttpResponder& responder) {
  manager.set_profiling(on);
  const ordered_json out{{"version", 1}, {"kind", "profile_state"}, {"profiling", on}};
  respond_json(responder, 200, out.dump());
}

}  // namespace

void add_placement_routes(Router& router, PlacementManager& manager) {
  router.add("GET", "/admin/v1/placement",
             [&manager](HttpRequest, const std::string&, Responder responder) {
               respond_json(*responder, 200,
                            view_json(manager.view(), manager.parallel_plan()).dump());
             });
  router.add("POST", "/admin/v1/placement/plan",
             [&manager](HttpRequest request, const std::string&, Responder responder) {
               handle_plan(manager, request.body, std::move(responder));
             });
  router.add("POST", "/admin/v1/placement/apply",
             [&manager](HttpRequest request, const std::string&, Responder responder) {
               respond_applied(*responder, apply_as_told(manager, request.body));
             });
  router.add("POST", "/admin/v1/placement/rollback",
             [&manager](HttpRequest request, const std::string&, Responder responder) {
               respond_applied(*responder, roll_back(manager, request.body));
             });
}

void add_profile_routes(Router& router, PlacementManager& manager,
                        std::shared_ptr<const DocumentFolder> documents) {
  router.add("GET", "/admin/v1/profile",
             [&manager](HttpRequest, const std::string&, Responder responder) {
               respond_json(*responder, 200, manager.profile().to_json());
             });
  router.add("POST", "/admin/v1/profile/start",
             [&manager](HttpRequest, const std::string&, Responder responder) {
               set_profiling(manager, true, *responder);
             });
  router.add("POST", "/admin/v1/profile/stop",
             [&manager](HttpRequest, const std::string&, Responder responder) {
               set_profiling(manager, false, *responder);
             });
  router.add("POST", "/admin/v1/profile/save",
             [&manager, documents](HttpRequest request, const std::string&, Responder responder) {
               const auto path = save_profile(manager, *documents, request.body);
               if (!path.ok()) return respond_status(*responder, path.status());
               const ordered_json out{
                   {"version", 1}, {"kind", "profile_saved"}, {"saved", true}, {"file", *path}};
               respond_json(*responder, 200, out.dump());
             });
  router.add(
      "POST", "/admin/v1/profile/load",
      [&manager, documents](HttpRequest request, const std::string&, Responder responder) {
        const absl::Status status = load_profile(manager, *documents, request.body);
        if (!status.ok()) return respond_status(*responder, status);
        respond_json(
            *responder, 200,
            ordered_json{{"version", 1}, {"kind", "profile_loaded"}, {"loaded", true}}.dump());
      });
}

}  // namespace conclave::coordinator
