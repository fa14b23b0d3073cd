#ifndef CONCLAVE_COORDINATOR_ADMIN_SCRAPED_METRICS_H_
#define CONCLAVE_COORDINATOR_ADMIN_SCRAPED_METRICS_H_

// Metrics that are read when somebody scrapes instead of being counted all the time. Names, types
// and help come from the catalogue.

#include <prometheus/metric_family.h>

#include <string>
#include <vector>

#include "coordinator/admin/model_folder_snapshot.h"
#include "coordinator/engine/engine.h"

namespace conclave::coordinator {

void append_status_families(const EngineStatus& status,
                            std::vector<prometheus::MetricFamily>* families);
void append_model_folder_family(const ModelFolderFindings& findings,
                                std::vector<prometheus::MetricFamily>* families);
// The coordinator's own process and its log.
void append_process_families(std::vector<prometheus::MetricFamily>* families);
// Copies of the families that have a vLLM name, under it, with vLLM's labels.
void append_vllm_families(const std::string& model,
                          std::vector<prometheus::MetricFamily>* families);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ADMIN_SCRAPED_METRICS_H_
