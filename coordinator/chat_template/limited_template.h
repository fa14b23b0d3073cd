#ifndef CONCLAVE_COORDINATOR_CHAT_TEMPLATE_LIMITED_TEMPLATE_H_
#define CONCLAVE_COORDINATOR_CHAT_TEMPLATE_LIMITED_TEMPLATE_H_

#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "coordinator/chat_template/budget.h"
#include "coordinator/chat_template/chat_template.h"

namespace conclave::coordinator::jinja {

// ChatTemplate::parse() with other limits; for tests and fuzzing.
absl::StatusOr<std::shared_ptr<const ChatTemplate>> parse_limited(std::string_view source_text,
                                                                  std::string_view source_name,
                                                                  const RenderLimits& limits);

}  // namespace conclave::coordinator::jinja

#endif  // CONCLAVE_COORDINATOR_CHAT_TEMPLATE_LIMITED_TEMPLATE_H_
