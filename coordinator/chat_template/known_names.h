#ifndef CONCLAVE_COORDINATOR_CHAT_TEMPLATE_KNOWN_NAMES_H_
#define CONCLAVE_COORDINATOR_CHAT_TEMPLATE_KNOWN_NAMES_H_

#include <nlohmann/json_fwd.hpp>

namespace conclave::coordinator::jinja {

// {"filters": {"known": [...], "refused": [...]}, "tests": ..., "globals": ..., "str": ..., "list",
// "dict", "int", "float", "tuple", "range"}: what templates can use, and what exists elsewhere and
// ends here with an error that says so. For tests, which compare it with what other engines have.
nlohmann::ordered_json known_names();

}  // namespace conclave::coordinator::jinja

#endif  // CONCLAVE_COORDINATOR_CHAT_TEMPLATE_KNOWN_NAMES_H_
