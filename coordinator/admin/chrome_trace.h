#ifndef CONCLAVE_COORDINATOR_ADMIN_CHROME_TRACE_H_
#define CONCLAVE_COORDINATOR_ADMIN_CHROME_TRACE_H_

#include <string>
#include <string_view>

#include "coordinator/engine/engine.h"

namespace conclave::coordinator {

// Chrome's Trace Event Format ("JSON object format"), which Perfetto reads as well: one process a
// rank and one for the coordinator; complete events ("ph":"X") in microseconds. A rank's clock
// starts with each step at the moment when the coordinator sent the plan, since the clocks of two
// hosts cannot be compared; the way of the plan to the rank is not seen.
std::string chrome_trace_json(const TraceStatus& trace, const EngineStatus& status);

// The kind of work that an operation's name stands for: gemm, attention, experts, exchange, memory
// or other.
std::string_view operation_class(std::string_view operation);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ADMIN_CHROME_TRACE_H_
