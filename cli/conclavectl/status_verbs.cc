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

absl::Status show_status(Session& session) {
  ASSIGN_OR_RETURN(const Json status, session.get("/admin/v1/status"));
  if (session.wants_data()) {
    print_data(session, status);
  } else {
    std::fputs(status_screen(status).c_str(), stdout);
  }
  return absl::OkStatus();
}

absl::Status show_health(Session& session, bool detail) {
  ASSIGN_OR_RETURN(const Json health, session.get("/admin/v1/health"));
  const std::string word = text_of(health["health"]);
  if (session.wants_data()) {
    print_data(session, health);
  } else {
    std::printf("%s\n", coloured(word, colour_of_health(word)).c_str());
    for (const Json& check : health["checks"]) {
      const std::string severity = text_of(check["severity"]);
      std::printf("%s %s: %s\n", coloured(severity, colour_of_health(severity)).c_str(), text_of(check["code"]).c_str(),
                  text_of(check["summary"]).c_str());
      if (!detail) continue;
      for (const Json& line : check["details"]) std::printf("    %s\n", text_of(line).c_str());
      std::printf("    do: %s\n", text_of(check["advice"]).c_str());
    }
  }
  if (word == "OK") return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("the cluster's health is ", word));
}

}  // namespace

void add_status_verbs(CLI::App& app, Action* action) {
  CLI::App* status = app.add_subcommand("status", "The cluster on one screen");
  status->callback([action] { *action = show_status; });

  CLI::App* health = app.add_subcommand("health", "OK, WARN or ERROR with the codes of what is wrong; exit code 8 unless OK");
  auto detail = std::make_shared<std::string>();
  health->add_option("detail", *detail, "\"detail\": say whom it concerns and what to do")->check(CLI::IsMember({"detail"}));
  health->callback([action, detail] {
    *action = [detail](Session& session) { return show_health(session, !detail->empty()); };
  });
}

}  // namespace conclave::ctl
