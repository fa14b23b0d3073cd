#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "cli/conclavectl/output.h"
#include "cli/conclavectl/tables.h"
#include "cli/conclavectl/verbs.h"

namespace conclave::ctl {
namespace {

struct PlanOptions {
  std::string objective, solver, table_file;
  double max_imbalance = 0, time_limit_s = 0;
  int32_t replicas = -1;
  std::string migration_budget;
};
struct ApplyOptions {
  std::string plan_id, table_file;
  bool dry_run = false;
};

Json without_table(Json document) {
  if (document.is_object()) document.erase("table");
  return document;
}

// Tables leave the assignment out: it is as long as the model has experts.
absl::Status show(const Session& session, const Json& document) {
  if (session.wants_data()) {
    print_data(session, document);
  } else {
    std::fputs(description(without_table(document)).c_str(), stdout);
  }
  return absl::OkStatus();
}

// Only what was asked for: the server has its own defaults.
Json plan_request(const PlanOptions& o) {
  Json body = Json::object();
  if (!o.objective.empty()) body["objective"] = o.objective;
  if (!o.solver.empty()) body["solver"] = o.solver;
  if (o.max_imbalance > 0) body["max_imbalance"] = o.max_imbalance;
  if (o.time_limit_s > 0) body["time_limit_s"] = o.time_limit_s;
  if (o.replicas >= 0) body["replicas"] = o.replicas;
  int64_t budget = 0;
  if (absl::SimpleAtoi(o.migration_budget, &budget)) {
    body["migration_budget"] = budget;
  } else if (!o.migration_budget.empty()) {
    body["migration_budget"] = o.migration_budget;  // "all", or what the server refuses by name
  }
  return body;
}

absl::Status plan(Session& session, const PlanOptions& o) {
  ASSIGN_OR_RETURN(const Json answer, session.post("/admin/v1/placement/plan", plan_request(o)));
  if (!o.table_file.empty()) {
    if (!answer.contains("table")) return absl::UnimplementedError("the server's plan has no table to write");
    RETURN_IF_ERROR(write_file_atomically(o.table_file, answer["table"].dump(1) + "\n"));
    std::fprintf(stderr, "wrote %s\n", o.table_file.c_str());
  }
  RETURN_IF_ERROR(show(session, answer));
  if (!session.wants_data() && answer.contains("plan_id"))
    std::fprintf(stderr, "apply it with: conclavectl placement apply --plan %s\n", text_of(answer["plan_id"]).c_str());
  return absl::OkStatus();
}

absl::Status apply(Session& session, const ApplyOptions& o) {
  Json body = {{"dry_run", o.dry_run}};
  if (o.plan_id.empty() == o.table_file.empty())
    return absl::InvalidArgumentError("name what to apply: either --plan ID or --table FILE");
  if (!o.plan_id.empty()) {
    body["plan_id"] = o.plan_id;
  } else {
    const auto text = read_file(o.table_file, size_t{256} << 20);
    if (!text.ok()) return absl::InvalidArgumentError(text.status().message());
    body["table"] = Json::parse(*text, nullptr, false);
    if (!body["table"].is_object()) return absl::InvalidArgumentError(absl::StrCat(o.table_file, ": not a placement table in JSON"));
  }
  ASSIGN_OR_RETURN(const Json answer, session.post("/admin/v1/placement/apply", body));
  return show(session, answer);
}

void add_placement(CLI::App& app, Action* action) {
  CLI::App* placement = app.add_subcommand("placement", "Where experts live: show, plan, apply, rollback");
  placement->require_subcommand(1);
  placement->add_subcommand("show", "The placement in use: epoch, plan, balance, remote share; -o json has the table")->callback([action] {
    *action = [](Session& session) -> absl::Status {
      ASSIGN_OR_RETURN(const Json answer, session.get("/admin/v1/placement"));
      return show(session, answer);
    };
  });
  auto o = std::make_shared<PlanOptions>();
  CLI::App* plan_verb = placement->add_subcommand("plan", "Compute a better placement from what routers did; changes nothing");
  plan_verb->add_option("--objective", o->objective, "what to minimise, as `conclave place` names it");
  plan_verb->add_option("--max-imbalance", o->max_imbalance, "largest load of a rank, as a multiple of the mean")->check(CLI::Range(1.0, 1000.0));
  plan_verb->add_option("--solver", o->solver, "solver, as `conclave place` names it");
  plan_verb->add_option("--time-limit", o->time_limit_s, "seconds that the solver may take")->check(CLI::Range(0.001, 86400.0));
  plan_verb->add_option("--replicas", o->replicas, "extra expert slots of a rank and layer, for copies of busy experts; default: as now")->check(CLI::Range(0, 1 << 20));
  plan_verb->add_option("--migration-budget", o->migration_budget,
                        "experts that may move at most, or all; default: the cluster's --replan-migration-share of them");
  plan_verb->add_option("--write-table", o->table_file, "write the table into this file");
  plan_verb->callback([action, o] {
    *action = [o](Session& session) { return plan(session, *o); };
  });
  auto a = std::make_shared<ApplyOptions>();
  CLI::App* apply_verb = placement->add_subcommand("apply", "Move experts to a planned placement while the cluster serves");
  apply_verb->add_option("--plan", a->plan_id, "the plan_id that `placement plan` printed");
  apply_verb->add_option("--table", a->table_file, "or a table file, as `conclave place` writes it");
  apply_verb->add_flag("--dry-run", a->dry_run, "say what would move and how long it would take");
  apply_verb->callback([action, a] {
    *action = [a](Session& session) { return apply(session, *a); };
  });
  placement->add_subcommand("rollback", "Back to the placement before the last change")->callback([action] {
    *action = [](Session& session) -> absl::Status {
      ASSIGN_OR_RETURN(const Json answer, session.post("/admin/v1/placement/rollback", Json::object()));
      return show(session, answer);
    };
  });
}

absl::StatusOr<Json> read_profile(const std::string& path) {
  const auto text = read_file(path);
  // An unreadable file is a wrong value, not a missing request or rank.
  if (!text.ok()) return absl::InvalidArgumentError(text.status().message());
  Json document = Json::parse(*text, nullptr, false);
  if (document.is_object()) return document;
  return absl::InvalidArgumentError(
      absl::StrCat(path, ": is no profile in JSON; a .safetensors one is loaded from the coordinator's folder, with --on-server"));
}

void add_profile(CLI::App& app, Action* action) {
  CLI::App* profile = app.add_subcommand("profile", "Record what routers do: start, stop, save, load");
  profile->require_subcommand(1);
  for (const char* verb : {"start", "stop"}) {
    profile->add_subcommand(verb, absl::StrCat(verb, "s recording"))->callback([action, verb] {
      *action = [verb](Session& session) -> absl::Status {
        ASSIGN_OR_RETURN(const Json answer, session.post(absl::StrCat("/admin/v1/profile/", verb), Json::object()));
        return show(session, answer);
      };
    });
  }
  struct FileOptions {
    std::string file;
    bool on_server = false;
  };
  auto o = std::make_shared<FileOptions>();
  CLI::App* save = profile->add_subcommand("save", "Write the profile into a file, for `conclave place`");
  save->add_option("file", o->file, "where to")->required();
  save->add_flag("--on-server", o->on_server, "FILE is a name in the coordinator's own folder (--state-dir of conclave serve)");
  save->callback([action, o] {
    *action = [o](Session& session) -> absl::Status {
      if (o->on_server) {
        ASSIGN_OR_RETURN(const Json answer, session.post("/admin/v1/profile/save", {{"name", o->file}}));
        return show(session, answer);
      }
      ASSIGN_OR_RETURN(const std::string text, session.text("GET", "/admin/v1/profile"));
      return save_file(session, o->file, text);
    };
  });
  auto from = std::make_shared<FileOptions>();
  CLI::App* load = profile->add_subcommand("load", "Go on from a saved profile instead of what was recorded");
  load->add_option("file", from->file, "a profile that `profile save` wrote")->required();
  load->add_flag("--on-server", from->on_server, "FILE is a name in the coordinator's own folder (--state-dir of conclave serve)");
  load->callback([action, from] {
    *action = [from](Session& session) -> absl::Status {
      Json body = {{"name", from->file}};
      if (!from->on_server) {
        ASSIGN_OR_RETURN(const Json document, read_profile(from->file));
        body = {{"profile", document}};
      }
      ASSIGN_OR_RETURN(const Json answer, session.post("/admin/v1/profile/load", body));
      return show(session, answer);
    };
  });
}

}  // namespace

void add_placement_verbs(CLI::App& app, Action* action) {
  add_placement(app, action);
  add_profile(app, action);
}

}  // namespace conclave::ctl
