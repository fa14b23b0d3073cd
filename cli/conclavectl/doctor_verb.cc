#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/version.h"
#include "cli/conclavectl/doctor.h"
#include "cli/conclavectl/output.h"
#include "cli/conclavectl/verbs.h"

namespace conclave::ctl {
namespace {

std::string worst(const std::vector<Finding>& findings) {
  std::string verdict = "OK";
  for (const Finding& finding : findings) {
    if (finding.verdict == "ERROR") return "ERROR";
    if (finding.verdict == "WARN") verdict = "WARN";
  }
  return verdict;
}

Finding check_version(const Json& version) {
  const std::string theirs = text_of(version["software"]);
  if (theirs == kVersion) return {"version", "OK", absl::StrCat("both sides are conclave ", theirs), ""};
  return {"version", "WARN", absl::StrCat("the cluster runs ", theirs, ", this conclavectl is ", kVersion),
          "use the conclavectl of the cluster's release"};
}

absl::Status doctor(Session& session, bool host_only) {
  std::vector<Finding> findings = check_host();
  if (!host_only) {
    for (Finding& finding : check_cluster(session)) findings.push_back(std::move(finding));
  }
  const Json document = doctor_document(findings);
  if (session.wants_data()) {
    print_data(session, document);
  } else {
    for (const Finding& finding : findings) {
      const std::string verdict = finding.verdict == "SKIP" ? coloured("SKIP ", Colour::kDim)
                                                            : coloured(absl::StrCat(finding.verdict, std::string(5 - finding.verdict.size(), ' ')),
                                                                       colour_of_health(finding.verdict));
      std::printf("%s %s: %s\n", verdict.c_str(), finding.check.c_str(), finding.what.c_str());
      if (!finding.advice.empty()) std::printf("      do: %s\n", finding.advice.c_str());
    }
  }
  if (worst(findings) != "ERROR") return absl::OkStatus();
  return absl::FailedPreconditionError("something is broken; see above");
}

}  // namespace

std::vector<Finding> check_cluster(Session& session) {
  const auto version = session.get("/admin/v1/version");
  if (!version.ok()) {
    return {{"admin-listener", "ERROR", std::string(version.status().message()),
             "start the coordinator, or name its admin listener and key; --host-only checks this host alone"}};
  }
  std::vector<Finding> findings = {{"admin-listener", "OK", session.options().endpoint, ""}, check_version(*version)};
  const auto health = session.get("/admin/v1/health");
  if (!health.ok()) return findings;
  if ((*health)["checks"].empty()) findings.push_back({"cluster", "OK", "no health check complains", ""});
  for (const Json& check : (*health)["checks"]) {
    std::string what = text_of(check["summary"]);
    for (const Json& detail : check["details"]) absl::StrAppend(&what, "; ", text_of(detail));
    findings.push_back({text_of(check["code"]), text_of(check["severity"]), what, text_of(check["advice"])});
  }
  return findings;
}

Json doctor_document(const std::vector<Finding>& findings) {
  Json out = {{"version", 1}, {"kind", "doctor"}, {"verdict", worst(findings)}, {"findings", Json::array()}};
  for (const Finding& finding : findings) {
    out["findings"].push_back({{"check", finding.check}, {"verdict", finding.verdict}, {"what", finding.what}, {"advice", finding.advice}});
  }
  return out;
}

void add_doctor_verb(CLI::App& app, Action* action) {
  auto host_only = std::make_shared<bool>(false);
  CLI::App* verb = app.add_subcommand("doctor", "Check this host and the cluster and say what to do; exit code 8 if something is broken");
  verb->add_flag("--host-only", *host_only, "do not ask the cluster");
  verb->callback([action, host_only] {
    *action = [host_only](Session& session) { return doctor(session, *host_only); };
  });
}

}  // namespace conclave::ctl
