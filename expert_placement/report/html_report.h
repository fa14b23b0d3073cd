#ifndef CONCLAVE_EXPERT_PLACEMENT_REPORT_HTML_REPORT_H_
#define CONCLAVE_EXPERT_PLACEMENT_REPORT_HTML_REPORT_H_

#include <string>

#include "expert_placement/solve.h"

namespace conclave::placement {

// One HTML file that needs nothing else (no script, no network): figures of the solution, the map
// layers x experts coloured by rank, transitions between ranks and between experts before and
// after, balance bars.
std::string html_report(const Problem& problem, const Solution& solution);

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_REPORT_HTML_REPORT_H_
