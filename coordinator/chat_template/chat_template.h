#ifndef CONCLAVE_COORDINATOR_CHAT_TEMPLATE_CHAT_TEMPLATE_H_
#define CONCLAVE_COORDINATOR_CHAT_TEMPLATE_CHAT_TEMPLATE_H_

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace conclave::coordinator {

// A model's chat template (Jinja, trim_blocks and lstrip_blocks on), parsed once. Immutable; any thread.
class ChatTemplate {
 public:
  static absl::StatusOr<std::shared_ptr<const ChatTemplate>> parse(std::string_view source_text,
                                                                   std::string_view source_name);
  // chat_template.jinja with additional_chat_templates/tool_use.jinja, else tokenizer_config.json's
  // chat_template (a string, or named ones: "default" and "tool_use", which requests with tools
  // get). NOT_FOUND if the model ships none.
  static absl::StatusOr<std::shared_ptr<const ChatTemplate>> from_folder(const std::string& folder);
  virtual ~ChatTemplate() = default;
  // variables: those of chat_variables(). INVALID_ARGUMENT: the conversation is at fault; the
  // template's own message where it calls raise_exception(). FAILED_PRECONDITION "chat template
  // FILE, line N: why": the template itself fails. RESOURCE_EXHAUSTED, said alike: it went beyond
  // its bounds of CPU time, memory, output or depth.
  virtual absl::StatusOr<std::string> render(const nlohmann::ordered_json& variables) const = 0;
  // Whether the text reads a variable of this name from outside (not one that it sets itself
  // before).
  virtual bool uses_variable(std::string_view name) const = 0;
  // Whether one of its string literals is this text: a template that compares a role with
  // "developer" knows that role.
  virtual bool mentions(std::string_view text) const = 0;
  // Whether it loops over a message's content: it then wants a list of parts where the client sent
  // one. Others get one text.
  virtual bool takes_content_parts() const = 0;
  // Sentences "chat template FILE, line N: ..." on what fails if a conversation reaches it: unknown
  // filters and tests below an if, functions that nobody provides. For the log at start and for
  // inspect.
  virtual const std::vector<std::string>& warnings() const = 0;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_CHAT_TEMPLATE_CHAT_TEMPLATE_H_
