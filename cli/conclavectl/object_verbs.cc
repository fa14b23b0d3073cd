#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "cli/conclavectl/output.h"
#include "cli/conclavectl/tables.h"
#include "cli/conclavectl/verbs.h"

namespace conclave::ctl {
namespace {

struct Selection {
  std::string kind;
  std::string name;
};

// The list of a document, and the member that names its items; empty for a document that is one thing.
struct Shape {
  const char* list = "";
  const char* name = "";
};
Shape shape_of(const std::string& kind) {
  if (kind == "ranks") return {"ranks", "rank"};
  if (kind == "requests") return {"requests", "id"};
  if (kind == "experts") return {"layers", "moe_layer"};
  return {};
}

bool is_called(const Json& item, const Shape& shape, const std::string& name) {
  return text_of(item[shape.name]) == name || (item.contains("request_id") && text_of(item["request_id"]) == name);
}

// Keeps the items of that name, or the setting of that name.
absl::Status select(const Selection& wanted, Json* document) {
  if (wanted.name.empty()) return absl::OkStatus();
  const Shape shape = shape_of(wanted.kind);
  if (wanted.kind == "config") {
    Json& settings = (*document)["settings"];
    if (!settings.contains(wanted.name)) return absl::NotFoundError(absl::StrCat("there is no setting called ", wanted.name));
    settings = Json{{wanted.name, settings[wanted.name]}};
    return absl::OkStatus();
  }
  if (*shape.list == '\0') return absl::InvalidArgumentError(absl::StrCat(wanted.kind, " is one thing and takes no name"));
  Json kept = Json::array();
  for (const Json& item : (*document)[shape.list]) {
    if (is_called(item, shape, wanted.name)) kept.push_back(item);
  }
  if (kept.empty()) return absl::NotFoundError(absl::StrCat("there is nothing called ", wanted.name, " among the ", wanted.kind));
  (*document)[shape.list] = std::move(kept);
  return absl::OkStatus();
}

std::string table_of(const std::string& kind, const Json& document, bool wide) {
  if (kind == "ranks") return ranks_table(document, wide);
  if (kind == "requests") return requests_table(document, wide);
  if (kind == "experts") return experts_table(document, wide);
  if (kind == "config") return description(document["settings"]);
  return description(document);
}

std::string details_of(const std::string& kind, const Json& document) {
  const Shape shape = shape_of(kind);
  if (kind == "config") return description(document["settings"]);
  if (*shape.list == '\0') return description(document);
  std::string out;
  for (const Json& item : document[shape.list]) absl::StrAppend(&out, out.empty() ? "" : "\n", description(item));
  return out;
}

absl::Status show(Session& session, const Selection& wanted, bool details) {
  ASSIGN_OR_RETURN(Json document, session.get("/admin/v1/" + wanted.kind));
  RETURN_IF_ERROR(select(wanted, &document));
  if (session.wants_data()) {
    print_data(session, document);
    return absl::OkStatus();
  }
  const std::string text = details ? details_of(wanted.kind, document) : table_of(wanted.kind, document, session.wide());
  std::fputs(text.c_str(), stdout);
  return absl::OkStatus();
}

void add_one(CLI::App& app, const char* verb, const char* help, bool details, Action* action) {
  auto wanted = std::make_shared<Selection>();
  CLI::App* command = app.add_subcommand(verb, help);
  command->add_option("kind", wanted->kind, "ranks, requests, experts, model or config")
      ->required()->check(CLI::IsMember({"ranks", "requests", "experts", "model", "config"}));
  command->add_option("name", wanted->name, "one of them: a rank, a request id, an MoE layer, a setting");
  command->callback([action, wanted, details] {
    *action = [wanted, details](Session& session) { return show(session, *wanted, details); };
  });
}

}  // namespace

void add_object_verbs(CLI::App& app, Action* action) {
  add_one(app, "get", "Lists ranks, requests, experts, the model or the configuration", false, action);
  add_one(app, "describe", "Everything known about them", true, action);
}

}  // namespace conclave::ctl
