#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "cli/conclavectl/heat_map.h"
#include "cli/conclavectl/output.h"
#include "cli/conclavectl/tables.h"
#include "cli/conclavectl/verbs.h"

namespace conclave::ctl {
namespace {

absl::Status plot(const Json& experts, const std::string& path) {
  const bool svg = path.ends_with(".svg");
  if (!svg && !path.ends_with(".png")) {
    return absl::InvalidArgumentError(absl::StrCat("--plot ", path, ": the name must end with .svg or .png"));
  }
  ASSIGN_OR_RETURN(const HeatMap map, heat_map_of(experts));
  RETURN_IF_ERROR(write_file_atomically(path, svg ? heat_map_svg(map) : heat_map_png(map)));
  std::fprintf(stderr, "wrote %s\n", path.c_str());
  return absl::OkStatus();
}

absl::Status expert_load(Session& session, const std::string& plot_path) {
  ASSIGN_OR_RETURN(const Json experts, session.get("/admin/v1/experts"));
  if (session.wants_data()) {
    print_data(session, experts);
  } else {
    std::fputs(experts_table(experts, session.wide()).c_str(), stdout);
    if (experts["per_expert"] != true) std::fprintf(stderr, "this server counts rows per rank and layer, not per expert\n");
  }
  return plot_path.empty() ? absl::OkStatus() : plot(experts, plot_path);
}

}  // namespace

void add_expert_verbs(CLI::App& app, Action* action) {
  auto path = std::make_shared<std::string>();
  CLI::App* verb = app.add_subcommand("expert-load", "How evenly ranks and experts are used, layer by layer, over about the last hundred steps");
  verb->add_option("--plot", *path, "also draw it into this file, .svg or .png");
  verb->callback([action, path] {
    *action = [path](Session& session) { return expert_load(session, *path); };
  });
}

}  // namespace conclave::ctl
