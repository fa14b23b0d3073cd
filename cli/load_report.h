#ifndef CONCLAVE_CLI_LOAD_REPORT_H_
#define CONCLAVE_CLI_LOAD_REPORT_H_

#include <nlohmann/json_fwd.hpp>

#include "bench/load_generator.h"

namespace conclave::cli {

nlohmann::ordered_json load_json(const bench::LoadOptions& options, const bench::LoadSummary& summary);
void print_load(const bench::LoadOptions& options, const bench::LoadSummary& summary);

}  // namespace conclave::cli

#endif  // CONCLAVE_CLI_LOAD_REPORT_H_
