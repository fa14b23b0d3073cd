#ifndef CONCLAVE_CLI_CONCLAVECTL_HEAT_MAP_H_
#define CONCLAVE_CLI_CONCLAVECTL_HEAT_MAP_H_

// A picture of how evenly experts (or, where only those are counted, ranks) are used: one row a
// MoE layer, one cell an expert, darker for more of its layer's rows, with a bar of the colour of
// the rank that holds it.

#include <cstdint>
#include <string>
#include <vector>

#include "cli/conclavectl/session.h"

namespace conclave::ctl {

struct HeatMap {
  std::string title;
  std::string column_name;                     // "expert" or "rank"
  std::vector<std::string> layers;             // labels of the rows
  std::vector<std::vector<double>> share;      // [layers][columns] times the layer's mean: 1 is even
  std::vector<std::vector<int32_t>> holder;    // [layers][columns] rank; empty: unknown
};

// From the document of /admin/v1/experts. FAILED_PRECONDITION if nothing was counted yet.
absl::StatusOr<HeatMap> heat_map_of(const Json& experts);

std::string heat_map_svg(const HeatMap& map);
// 8 bits a channel RGB, compressed with zlib (PNG, ISO/IEC 15948).
std::string heat_map_png(const HeatMap& map);

}  // namespace conclave::ctl

#endif  // CONCLAVE_CLI_CONCLAVECTL_HEAT_MAP_H_
