#ifndef CONCLAVE_COORDINATOR_CHAT_TEMPLATE_CONTENT_PARTS_H_
#define CONCLAVE_COORDINATOR_CHAT_TEMPLATE_CONTENT_PARTS_H_

#include "coordinator/chat_template/ast.h"

namespace conclave::coordinator::jinja {

// Whether a loop goes over something called content (message.content, message['content'], content):
// such a template knows content that is a list of parts. All others get one text.
bool loops_over_content(const Body& body);

}  // namespace conclave::coordinator::jinja

#endif  // CONCLAVE_COORDINATOR_CHAT_TEMPLATE_CONTENT_PARTS_H_
