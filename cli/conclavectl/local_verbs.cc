#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "base/version.h"
#include "cli/conclavectl/flag_table.h"
#include "cli/conclavectl/output.h"
#include "cli/conclavectl/verbs.h"
#include "coordinator/admin/metric_catalogue.h"

namespace conclave::ctl {
namespace {

absl::Status version(Session& session, bool client_only) {
  Json out = {{"version", 1}, {"kind", "versions"}, {"client", kVersion}, {"server", nullptr}};
  absl::Status status;
  if (!client_only) {
    auto answer = session.get("/admin/v1/version");
    status = answer.status();
    if (answer.ok()) out["server"] = std::move(*answer);
  }
  if (session.wants_data()) {
    print_data(session, out);
    return status;
  }
  std::printf("conclavectl %s\n", kVersion);
  if (status.ok() && !client_only) {
    std::printf("cluster     %s, model %s, kernel set %s, compute %s\n", text_of(out["server"]["software"]).c_str(),
                text_of(out["server"]["model"]).c_str(), text_of(out["server"]["kernel_set"]).c_str(), text_of(out["server"]["compute"]).c_str());
  }
  return status;
}

absl::Status metrics(Session& session, bool markdown) {
  if (markdown) {
    std::fputs(coordinator::metric_catalogue_markdown().c_str(), stdout);
    return absl::OkStatus();
  }
  Json out = {{"version", 1}, {"kind", "metrics"}, {"metrics", Json::array()}};
  Table table({"NAME", "TYPE", "LABELS", "MEANING"});
  for (const coordinator::MetricDescription& metric : coordinator::metric_catalogue()) {
    out["metrics"].push_back({{"name", metric.name}, {"type", metric.type}, {"labels", metric.labels}, {"group", metric.group},
                              {"help", metric.help}, {"vllm", metric.vllm}});
    table.add({std::string(metric.name), std::string(metric.type), std::string(metric.labels), std::string(metric.help)});
  }
  if (session.wants_data()) {
    print_data(session, out);
  } else {
    std::fputs(table.text().c_str(), stdout);
  }
  return absl::OkStatus();
}

absl::Status completion(const Session& session, const CLI::App& app, const std::string& shell) {
  const auto table = flag_table(app);
  const std::string text = shell == "bash" ? bash_completion(app.get_name(), table)
                           : shell == "zsh" ? zsh_completion(app.get_name(), table)
                                            : fish_completion(app.get_name(), table);
  if (session.wants_data()) {
    print_data(session, {{"version", 1}, {"kind", "completion"}, {"shell", shell}, {"script", text}});
  } else {
    std::fputs(text.c_str(), stdout);
  }
  return absl::OkStatus();
}

absl::Status man(const Session& session, const CLI::App& app, const std::string& folder) {
  auto pages = man_pages(app.get_name(), kVersion, flag_table(app), kExitCodeTable);
  Json out = {{"version", 1}, {"kind", "man"}, {"folder", nullptr}, {"pages", Json::object()}};
  if (folder.empty()) {
    const std::string name = app.get_name() + ".1";
    if (!session.wants_data()) std::fputs(pages.at(name).c_str(), stdout);
    out["pages"][name] = std::move(pages.at(name));
  } else {
    out["folder"] = folder;
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error) return absl::InvalidArgumentError(absl::StrCat(folder, ": ", error.message()));
    for (auto& [name, text] : pages) {
      RETURN_IF_ERROR(write_file_atomically(absl::StrCat(folder, "/", name), text));
      if (!session.wants_data()) std::printf("%s/%s\n", folder.c_str(), name.c_str());
      out["pages"][name] = std::move(text);
    }
  }
  if (session.wants_data()) print_data(session, out);
  return absl::OkStatus();
}

}  // namespace

void add_local_verbs(CLI::App& app, Action* action) {
  auto client_only = std::make_shared<bool>(false);
  CLI::App* version_verb = app.add_subcommand("version", "Versions of this program and of the cluster");
  version_verb->add_flag("--client", *client_only, "do not ask the cluster");
  version_verb->callback([action, client_only] {
    *action = [client_only](Session& session) { return version(session, *client_only); };
  });

  auto markdown = std::make_shared<bool>(false);
  CLI::App* metrics_verb = app.add_subcommand("metrics", "Every metric that a coordinator exports, and what it means");
  metrics_verb->add_flag("--markdown", *markdown, "as docs/metrics.md");
  metrics_verb->callback([action, markdown] {
    *action = [markdown](Session& session) { return metrics(session, *markdown); };
  });

  auto shell = std::make_shared<std::string>();
  CLI::App* completion_verb = app.add_subcommand("completion", "Completion script for a shell");
  completion_verb->add_option("shell", *shell, "bash, zsh or fish")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
  completion_verb->callback([action, shell, &app] {
    *action = [shell, &app](Session& session) { return completion(session, app, *shell); };
  });

  auto folder = std::make_shared<std::string>();
  CLI::App* man_verb = app.add_subcommand("man", "The manual page, or with --folder one page a verb");
  man_verb->add_option("--folder", *folder, "write all pages there");
  man_verb->callback([action, folder, &app] {
    *action = [folder, &app](Session& session) { return man(session, app, *folder); };
  });
}

}  // namespace conclave::ctl
