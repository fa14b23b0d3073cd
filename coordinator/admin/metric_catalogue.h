#ifndef CONCLAVE_COORDINATOR_ADMIN_METRIC_CATALOGUE_H_
#define CONCLAVE_COORDINATOR_ADMIN_METRIC_CATALOGUE_H_

// Every metric that the coordinator exports: the source of /metrics and of the documentation.

#include <span>
#include <string_view>

namespace conclave::coordinator {

struct MetricDescription {
  std::string_view name;
  std::string_view type;    // counter, gauge, histogram
  std::string_view labels;  // comma-separated, "" if none
  std::string_view help;
};

std::span<const MetricDescription> metric_catalogue();
// The entry of that name; an empty one if there is none, which is a bug of the caller.
const MetricDescription& metric_description(std::string_view name);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ADMIN_METRIC_CATALOGUE_H_
