#ifndef CONCLAVE_COORDINATOR_ADMIN_FAMILY_WRITER_H_
#define CONCLAVE_COORDINATOR_ADMIN_FAMILY_WRITER_H_

#include <prometheus/metric_family.h>

#include <string>
#include <vector>

namespace conclave::coordinator {

// One family of gauges or counters that grows sample by sample and joins `out` when its writer
// goes; type and help come from the catalogue. A family without samples is left out.
class FamilyWriter {
 public:
  using Labels = std::vector<prometheus::ClientMetric::Label>;
  FamilyWriter(std::string name, std::vector<prometheus::MetricFamily>* out);
  ~FamilyWriter();
  FamilyWriter(const FamilyWriter&) = delete;
  FamilyWriter& operator=(const FamilyWriter&) = delete;
  void add(Labels labels, double value);

 private:
  std::vector<prometheus::MetricFamily>* out_;
  prometheus::MetricFamily family_;
  bool counter_ = false;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ADMIN_FAMILY_WRITER_H_
