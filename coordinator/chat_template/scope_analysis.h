#ifndef CONCLAVE_COORDINATOR_CHAT_TEMPLATE_SCOPE_ANALYSIS_H_
#define CONCLAVE_COORDINATOR_CHAT_TEMPLATE_SCOPE_ANALYSIS_H_

#include <set>
#include <string>

#include "coordinator/chat_template/ast.h"

namespace conclave::coordinator::jinja {

// Fills undefined_at_entry of this body and all inside it. Jinja decides once, from the text alone,
// where each name of a scope comes from: a name that is first assigned (in every branch, and with
// no such name in a scope around it) starts undefined, even if a variable of that name was passed
// in. Returns the names that the template reads from outside: variables and global functions.
std::set<std::string> analyze_scopes(ScopedBody& template_body);

}  // namespace conclave::coordinator::jinja

#endif  // CONCLAVE_COORDINATOR_CHAT_TEMPLATE_SCOPE_ANALYSIS_H_
