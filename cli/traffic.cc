// What a recorded run sent, counted from its routing by the placement evaluator.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "base/file.h"
#include "base/status_macros.h"
#include "cli/commands.h"
#include "cli/exit_codes.h"
#include "cli/progress_bar.h"
#include "expert_placement/objective/recorded_traffic.h"

namespace conclave::cli {
namespace {

using placement::PlacementTable;
using placement::RoutingRecording;
using placement::RunTraffic;

struct TrafficOptions {
  std::string recording, table, output = "text";
};

// As the metrics label them.
constexpr std::array kPlans = {"fixed", "coherent"};
constexpr std::array kDirections = {"dispatch", "return", "key_value"};

double per_row_layer(const RoutingRecording& recording, const RunTraffic& traffic, size_t plan) {
  const auto& sums = traffic.sums[plan];
  const double row_layers = static_cast<double>(traffic.rows[plan]) * recording.rows.layers;
  const int64_t messages = sums[RunTraffic::kDispatch].messages + sums[RunTraffic::kReturn].messages;
  return row_layers > 0 ? static_cast<double>(messages) / row_layers : 0;
}

// Sequences that were on one rank first and on another later.
size_t moved_homes(const RoutingRecording& recording) {
  std::map<int32_t, std::set<int32_t>> homes;
  for (size_t row = 0; row < recording.home.size(); ++row)
    homes[recording.rows.sequence[row]].insert(recording.home[row]);
  return static_cast<size_t>(
      std::count_if(homes.begin(), homes.end(), [](const auto& of) { return of.second.size() > 1; }));
}

nlohmann::ordered_json to_json(const RoutingRecording& recording, const RunTraffic& traffic) {
  nlohmann::ordered_json json{{"rows", recording.rows.rows()},
                              {"complete", recording.complete},
                              {"placement_tables", recording.tables.size()},
                              {"moved_homes", moved_homes(recording)}};
  for (size_t plan = 0; plan < kPlans.size(); ++plan) {
    nlohmann::ordered_json& of_plan = json["plans"][kPlans[plan]];
    of_plan["rows"] = traffic.rows[plan];
    of_plan["messages_per_row_layer"] = per_row_layer(recording, traffic, plan);
    for (size_t direction = 0; direction < kDirections.size(); ++direction) {
      const placement::TrafficSum& sum = traffic.sums[plan][direction];
      of_plan[kDirections[direction]] = {{"messages", sum.messages}, {"bytes", sum.bytes}};
    }
  }
  return json;
}

void print(const RoutingRecording& recording, const RunTraffic& traffic) {
  std::printf("%lld rows%s, %zu placement tables, %zu sequences changed their home\n",
              static_cast<long long>(recording.rows.rows()),
              recording.complete ? "" : " (the recording was full: not all of the run)",
              recording.tables.size(), moved_homes(recording));
  for (size_t plan = 0; plan < kPlans.size(); ++plan) {
    std::printf("%-8s  %lld rows, %.4f messages per row and MoE layer\n", kPlans[plan],
                static_cast<long long>(traffic.rows[plan]), per_row_layer(recording, traffic, plan));
    for (size_t direction = 0; direction < kDirections.size(); ++direction) {
      const placement::TrafficSum& sum = traffic.sums[plan][direction];
      if (sum.messages == 0) continue;
      std::printf("  %-9s  %12lld messages  %12s\n", kDirections[direction],
                  static_cast<long long>(sum.messages),
                  format_bytes(static_cast<uint64_t>(sum.bytes)).c_str());
    }
  }
}

absl::Status run(const TrafficOptions& o) {
  ASSIGN_OR_RETURN(const RoutingRecording recording, placement::load_recording(o.recording));
  std::optional<PlacementTable> other;
  if (!o.table.empty()) {
    ASSIGN_OR_RETURN(const std::string text, read_file(o.table));
    ASSIGN_OR_RETURN(other, PlacementTable::from_json(text, o.table));
  }
  ASSIGN_OR_RETURN(const RunTraffic traffic,
                   placement::count_recorded(recording, other ? &*other : nullptr));
  if (o.output == "json") {
    std::puts(to_json(recording, traffic).dump(2).c_str());
  } else {
    print(recording, traffic);
  }
  return absl::OkStatus();
}

}  // namespace

void add_traffic_command(CLI::App& app, int* exit_code) {
  auto o = std::make_shared<TrafficOptions>();
  CLI::App* command = app.add_subcommand(
      "traffic", "Count what a recorded run sent, from its routing: messages and bytes by plan and direction");
  command->footer("The sums equal the run's conclave_exchange_messages_total and conclave_exchange_bytes_total.\n\n" +
                  std::string(kExitCodeHelp));
  command->add_option("--recording", o->recording, "file of conclave serve --record-routing")->required();
  command->add_option("--table", o->table, "count as if this table had been in force all the time (homes as they were)");
  command->add_option("-o,--output", o->output, "text or json")->check(CLI::IsMember({"text", "json"}));
  command->callback([o, exit_code] { *exit_code = report(run(*o)); });
}

}  // namespace conclave::cli
