#include "coordinator/admin/family_writer.h"

#include <algorithm>
#include <utility>

#include "coordinator/admin/metric_catalogue.h"

namespace conclave::coordinator {

FamilyWriter::FamilyWriter(std::string name, std::vector<prometheus::MetricFamily>* out)
    : out_(out) {
  const MetricDescription& description = metric_description(name);
  counter_ = description.type == "counter";
  family_.name = std::move(name);
  family_.help = std::string(description.help);
  family_.type = counter_ ? prometheus::MetricType::Counter : prometheus::MetricType::Gauge;
}

FamilyWriter::~FamilyWriter() {
  if (!family_.metric.empty()) out_->push_back(std::move(family_));
}

void FamilyWriter::add(Labels labels, double value) {
  prometheus::ClientMetric& sample = family_.metric.emplace_back();
  std::sort(labels.begin(), labels.end());  // as prometheus-cpp writes its own
  sample.label = std::move(labels);
  (counter_ ? sample.counter.value : sample.gauge.value) = value;
}

}  // namespace conclave::coordinator
