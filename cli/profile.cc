#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/status_macros.h"
#include "cli/commands.h"
#include "cli/exit_codes.h"
#include "cli/placement_input.h"
#include "expert_placement/objective/traffic.h"

namespace conclave::cli {
namespace {

struct ProfileOptions {
  PlacementInputOptions input;
  std::string out;
  std::string output = "text";
};

// Share of transitions that go to the most likely successor of their expert: 1/E without affinity.
double successor_share(const placement::RoutingProfile& profile) {
  const auto experts = static_cast<size_t>(profile.experts());
  double most = 0, all = 0;
  for (int32_t layer = 0; layer + 1 < profile.layers(); ++layer) {
    const auto counts = profile.transitions(layer);
    for (size_t from = 0; from < experts; ++from) {
      const auto row = counts.subspan(from * experts, experts);
      most += *std::max_element(row.begin(), row.end());
      for (double count : row) all += count;
    }
  }
  return all > 0 ? most / all : 0;
}

nlohmann::ordered_json summary(const placement::RoutingProfile& profile) {
  nlohmann::ordered_json layers = nlohmann::ordered_json::array();
  for (int32_t layer = 0; layer < profile.layers(); ++layer) {
    const auto loads = profile.loads(layer);
    const double mean = profile.tokens() * profile.top_k() / profile.experts();
    const double most = *std::max_element(loads.begin(), loads.end());
    layers.push_back({{"layer", profile.shape().moe_layers[static_cast<size_t>(layer)]},
                      {"hottest_expert_over_mean", mean > 0 ? most / mean : 0}});
  }
  return {{"profile_id", profile.id()},
          {"model_fingerprint", profile.model_fingerprint()},
          {"moe_layers", profile.shape().moe_layers},
          {"experts", profile.experts()},
          {"top_k", profile.top_k()},
          {"tokens", profile.tokens()},
          {"sampled_rows", profile.samples().rows()},
          {"likeliest_successor_share", successor_share(profile)},
          {"layers", layers}};
}

absl::Status profile(const ProfileOptions& o) {
  ASSIGN_OR_RETURN(const PlacementInput input, read_routing(o.input));
  if (!o.out.empty()) RETURN_IF_ERROR(input.profile.save(o.out));
  const nlohmann::ordered_json facts = summary(input.profile);
  if (o.output == "json") {
    std::puts(facts.dump(2).c_str());
    return absl::OkStatus();
  }
  std::printf(
      "profile    %s\ntokens     %.0f (%lld rows sampled)\nlayers     %d MoE layers, %d experts, "
      "top-%d\n",
      input.profile.id().c_str(), input.profile.tokens(),
      static_cast<long long>(input.profile.samples().rows()), input.profile.layers(),
      input.profile.experts(), input.profile.top_k());
  std::printf(
      "affinity   %.1f %% of transitions take their expert's likeliest successor (%.1f %% without "
      "affinity)\n",
      100 * facts["likeliest_successor_share"].get<double>(), 100.0 / input.profile.experts());
  for (const auto& layer : facts["layers"]) {
    std::printf("layer %-4d hottest expert %.2f x mean\n", layer["layer"].get<int>(),
                layer["hottest_expert_over_mean"].get<double>());
  }
  return absl::OkStatus();
}

}  // namespace

void add_profile_command(CLI::App& app, int* exit_code) {
  auto o = std::make_shared<ProfileOptions>();
  CLI::App* command = app.add_subcommand(
      "profile", "Count what routers did: a trace into a routing profile, or a look at one");
  command->footer(std::string(kExitCodeHelp));
  add_routing_flags(*command, &o->input);
  command->add_option(
      "--out", o->out,
      "write the profile here (.safetensors keeps a sample of rows, .json counts alone)");
  command->add_option("-o,--output", o->output, "text or json")
      ->check(CLI::IsMember({"text", "json"}));
  command->callback([o, exit_code] { *exit_code = report(profile(*o)); });
}

}  // namespace conclave::cli
