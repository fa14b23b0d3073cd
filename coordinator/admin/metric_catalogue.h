#ifndef CONCLAVE_COORDINATOR_ADMIN_METRIC_CATALOGUE_H_
#define CONCLAVE_COORDINATOR_ADMIN_METRIC_CATALOGUE_H_

// Every metric that the coordinator exports, declared once: /metrics, docs/metrics.md,
// `conclavectl metrics` and the check of the dashboards read this table.

#include <span>
#include <string>
#include <string_view>

namespace conclave::coordinator {

struct MetricDescription {
  std::string_view name;
  std::string_view type;    // counter, gauge, histogram
  std::string_view labels;  // comma-separated, "" if none
  std::string_view group;   // heading in the documentation
  std::string_view help;
  std::string_view vllm;  // the name under --vllm-metric-names, "" if it has no counterpart
};

std::span<const MetricDescription> metric_catalogue();
// The entry of that name; an empty one if there is none, which is a bug of the caller.
const MetricDescription& metric_description(std::string_view name);
// docs/metrics.md as it must be.
std::string metric_catalogue_markdown();

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ADMIN_METRIC_CATALOGUE_H_
