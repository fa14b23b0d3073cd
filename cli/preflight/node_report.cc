#include "cli/preflight/node_report.h"

#include <nlohmann/json.hpp>

namespace conclave::cli {

using nlohmann::ordered_json;

std::string to_json(const NodeReport& report) {
  ordered_json checks = ordered_json::array();
  for (const CheckResult& check : report.checks) {
    checks.push_back({{"name", check.name}, {"ok", check.ok}, {"message", check.message}});
  }
  const ordered_json json{{"version", 1},
                          {"node", report.node},
                          {"checks", checks},
                          {"unreachable", report.unreachable}};
  return json.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

absl::StatusOr<NodeReport> report_from_json(const std::string& text) {
  try {
    const ordered_json json = ordered_json::parse(text);
    NodeReport report;
    if (json.at("version").get<int>() != 1)
      return absl::InvalidArgumentError("it is of another version");
    report.node = json.at("node").get<std::string>();
    for (const ordered_json& check : json.at("checks")) {
      report.checks.push_back({check.at("name").get<std::string>(), check.at("ok").get<bool>(),
                               check.at("message").get<std::string>()});
    }
    report.unreachable = json.at("unreachable").get<std::vector<std::string>>();
    return report;
  } catch (const ordered_json::exception& error) {
    return absl::InvalidArgumentError(error.what());
  }
}

}  // namespace conclave::cli
