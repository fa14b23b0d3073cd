#ifndef CONCLAVE_COORDINATOR_ENGINE_READINESS_H_
#define CONCLAVE_COORDINATOR_ENGINE_READINESS_H_

// Why a cluster takes no requests, in one sentence, for everybody who asks: /ready, the admin
// listener, people.

#include <string>

#include "coordinator/engine/engine.h"

namespace conclave::coordinator {

struct Readiness {
  bool ready = false;
  std::string reason;  // "" when ready
  double since = 0;    // Unix time since which it is so; 0: not known
};
Readiness readiness(const EngineStatus& status);

// Seconds since 1970.
double unix_time();
// "2026-12-01T03:08:07Z"; "" for 0.
std::string utc_text(double unix_time);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ENGINE_READINESS_H_
