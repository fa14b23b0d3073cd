#ifndef CONCLAVE_COORDINATOR_HTTP_API_KEY_H_
#define CONCLAVE_COORDINATOR_HTTP_API_KEY_H_

#include <cstdint>
#include <string>

namespace conclave::coordinator {

// What is known of the key that a request came with; never the secret itself. Immutable.
struct ApiKey {
  std::string name;           // unique in its file; for logs, metrics and people
  int32_t weight = 1;         // share of the served tokens while others wait, beside their weights
  int32_t best_priority = 0;  // the lowest `priority` that its requests may ask for
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_HTTP_API_KEY_H_
