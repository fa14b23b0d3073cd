#ifndef CONCLAVE_COORDINATOR_CHAT_TEMPLATE_CHAT_TEMPLATE_H_
#define CONCLAVE_COORDINATOR_CHAT_TEMPLATE_CHAT_TEMPLATE_H_

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace conclave::coordinator {

// A model's chat template (Jinja, trim_blocks and lstrip_blocks on), parsed once. Immutable; any thread.
class ChatTemplate {
 public:
  static absl::StatusOr<std::shared_ptr<const ChatTemplate>> parse(std::string_view source_text,
                                                                   std::string_view source_name);
  // chat_template.jinja, else tokenizer_config.json's chat_template (string, or list: "default").
  // NOT_FOUND if the model ships none.
  static absl::StatusOr<std::shared_ptr<const ChatTemplate>> from_folder(const std::string& folder);
  virtual ~ChatTemplate() = default;
  // variables: messages, add_generation_prompt, bos_token, eos_token, tools and the request's
  // chat_template_kwargs. INVALID_ARGUMENT with the template's own message on raise_exception(), or with
  // line number for a run-time error. Bounded: output size, loop count, recursion depth.
  virtual absl::StatusOr<std::string> render(const nlohmann::ordered_json& variables) const = 0;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_CHAT_TEMPLATE_CHAT_TEMPLATE_H_
