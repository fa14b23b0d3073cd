#include "cli/placement_input.h"

#include <CLI/CLI.hpp>
#include <filesystem>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "model/model_folder.h"
#include "model/weights.h"

namespace conclave::cli {

using placement::ClusterSpec;
using placement::RoutingProfile;
using placement::RoutingRows;

void add_routing_flags(CLI::App& app, PlacementInputOptions* options) {
  auto* profile = app.add_option("--profile", options->profile,
                                 "routing profile (conclave profile, or saved by a cluster)");
  auto* trace =
      app.add_option("--trace", options->trace, "routing trace (safetensors) instead of a profile");
  profile->excludes(trace);
  app.add_option("--model", options->model,
                 "model folder or shape file: layer numbers, fingerprint, sizes");
  app.add_option("--hold-out", options->hold_out,
                 "keep every n-th sequence of the trace for judging the table; 0: none")
      ->check(CLI::Range(0, 1000000));
}

void add_cluster_flags(CLI::App& app, PlacementInputOptions* options) {
  app.add_option("--ranks", options->ranks, "ranks of the group (or --cluster)");
  app.add_option("--nodes", options->nodes, "nodes that the ranks are spread over");
  app.add_option("--cluster", options->cluster,
                 "cluster description (JSON): nodes, links, memory; instead of --ranks");
}

absl::StatusOr<NamedModel> read_model_or_shape(const std::string& path) {
  NamedModel named;
  std::error_code error;
  if (std::filesystem::is_regular_file(path, error)) {
    ASSIGN_OR_RETURN(const std::string text, read_file(path));
    ASSIGN_OR_RETURN(named.spec, model::parse_shape(text, path));
    return named;
  }
  ASSIGN_OR_RETURN(const std::string folder, model::resolve_model_folder(path));
  ASSIGN_OR_RETURN(model::ModelDescription description, model::read_model_description(folder));
  ASSIGN_OR_RETURN(const auto weights, model::Weights::open(folder, &description.spec));
  named.spec = std::move(description.spec);
  named.fingerprint = weights->fingerprint();
  return named;
}

namespace {

absl::Status check_model_fits(const NamedModel& model, int32_t layers, int32_t experts,
                              const std::string& source) {
  const auto of_model = static_cast<int32_t>(model.spec.moe_layers().size());
  if (of_model == layers && model.spec.experts == experts) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(source, ": ", layers, " MoE layers of ", experts, " experts, but the model has ",
                   of_model, " of ", model.spec.experts, "; give the model that was traced"));
}

absl::Status read_trace_rows(const PlacementInputOptions& options, PlacementInput* input) {
  ASSIGN_OR_RETURN(RoutingRows rows, placement::read_trace(options.trace));
  std::vector<int32_t> layers(static_cast<size_t>(rows.layers));
  std::iota(layers.begin(), layers.end(), 0);
  if (input->model) {
    RETURN_IF_ERROR(check_model_fits(*input->model, rows.layers, rows.experts, options.trace));
    layers = input->model->spec.moe_layers();
  }
  if (options.hold_out > 0) {
    placement::SplitRows split = placement::hold_out(rows, options.hold_out);
    rows = std::move(split.profile);
    input->test = std::move(split.test);
  }
  ASSIGN_OR_RETURN(input->profile, RoutingProfile::from_rows(rows, std::move(layers)));
  if (input->model) input->profile.set_model_fingerprint(input->model->fingerprint);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<PlacementInput> read_routing(const PlacementInputOptions& options) {
  PlacementInput input;
  if (!options.model.empty()) {
    ASSIGN_OR_RETURN(input.model, read_model_or_shape(options.model));
  }
  if (!options.trace.empty()) {
    RETURN_IF_ERROR(read_trace_rows(options, &input));
    return input;
  }
  if (options.profile.empty())
    return absl::InvalidArgumentError("give --profile FILE or --trace FILE");
  if (options.hold_out > 0)
    return absl::InvalidArgumentError(
        "--hold-out needs --trace; a profile has no sequences to keep apart");
  ASSIGN_OR_RETURN(input.profile, RoutingProfile::load(options.profile));
  if (input.model) {
    RETURN_IF_ERROR(check_model_fits(*input.model, input.profile.layers(), input.profile.experts(),
                                     options.profile));
    const std::string& theirs = input.profile.model_fingerprint();
    if (!theirs.empty() && !input.model->fingerprint.empty() &&
        theirs != input.model->fingerprint) {
      return absl::InvalidArgumentError(absl::StrCat(options.profile, ": made by model ", theirs,
                                                     ", this is model ", input.model->fingerprint,
                                                     "; make a profile with this model"));
    }
  }
  return input;
}

absl::StatusOr<ClusterSpec> read_cluster(const PlacementInputOptions& options) {
  if (!options.cluster.empty()) {
    ASSIGN_OR_RETURN(ClusterSpec cluster, ClusterSpec::load(options.cluster));
    if (options.ranks != 0 && options.ranks != cluster.ranks()) {
      return absl::InvalidArgumentError(absl::StrCat(options.cluster, ": describes ",
                                                     cluster.ranks(), " ranks, --ranks says ",
                                                     options.ranks, "; give one of them"));
    }
    return cluster;
  }
  if (options.ranks < 1)
    return absl::InvalidArgumentError("give --ranks N (at least 1) or --cluster FILE");
  return ClusterSpec::even(options.ranks, options.nodes);
}

placement::ExpertCost expert_cost(const std::optional<NamedModel>& model, double batch) {
  placement::ExpertCost cost;
  cost.batch_tokens = batch;
  const double hidden = model ? model->spec.hidden : 192;
  const double parameters =
      model ? static_cast<double>(model->spec.expert_parameters()) : 3.0 * 192 * 64;
  cost.row_bytes = 2 * hidden;
  cost.weight_bytes = 2 * parameters;
  cost.flops = 2 * parameters;
  return cost;
}

}  // namespace conclave::cli
