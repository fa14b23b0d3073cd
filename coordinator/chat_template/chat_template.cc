#include "coordinator/chat_template/chat_template.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "coordinator/chat_template/content_parts.h"
#include "coordinator/chat_template/evaluator.h"
#include "coordinator/chat_template/limited_template.h"
#include "coordinator/chat_template/parser.h"
#include "coordinator/chat_template/value_json.h"

namespace conclave::coordinator {
namespace {

constexpr size_t kMaxTemplateBytes = size_t{4} << 20;
constexpr size_t kMaxConfigBytes = size_t{64} << 20;

class JinjaTemplate final : public ChatTemplate {
 public:
  JinjaTemplate(jinja::ParsedTemplate parsed, std::string name, jinja::RenderLimits limits)
      : parsed_(std::move(parsed)), name_(std::move(name)), limits_(limits) {
    for (std::string& warning : parsed_.warnings) {
      warning = absl::StrCat("chat template ", name_, ", ", warning);
    }
  }

  absl::StatusOr<std::string> render(const nlohmann::ordered_json& variables) const override {
    if (!variables.is_object()) {
      return absl::InvalidArgumentError(
          absl::StrCat("chat template ", name_, ": the variables must be an object"));
    }
    ASSIGN_OR_RETURN(jinja::Value converted, jinja::value_from_json(variables));
    jinja::Evaluator evaluator(std::move(converted), limits_);
    absl::StatusOr<std::string> text = evaluator.render(parsed_.body);
    if (text.ok() || evaluator.raised_by_template()) return text;
    const std::string what = absl::StrCat("chat template ", name_, ", line ", evaluator.line(),
                                          ": ", std::string(text.status().message()));
    return absl::IsResourceExhausted(text.status()) ? absl::ResourceExhaustedError(what)
                                                    : absl::FailedPreconditionError(what);
  }

  bool uses_variable(std::string_view name) const override {
    return parsed_.outside.contains(std::string(name));
  }
  bool mentions(std::string_view text) const override {
    return parsed_.literals.contains(std::string(text));
  }
  bool takes_content_parts() const override { return loops_over_content_; }
  const std::vector<std::string>& warnings() const override { return parsed_.warnings; }

 private:
  jinja::ParsedTemplate parsed_;
  const std::string name_;
  const jinja::RenderLimits limits_;
  const bool loops_over_content_ = jinja::loops_over_content(parsed_.body.statements);
};

// Two templates of one model: transformers takes "tool_use" where a request has tools.
class TemplateWithTools final : public ChatTemplate {
 public:
  TemplateWithTools(std::shared_ptr<const ChatTemplate> plain,
                    std::shared_ptr<const ChatTemplate> tools)
      : plain_(std::move(plain)), tools_(std::move(tools)), warnings_(plain_->warnings()) {
    warnings_.insert(warnings_.end(), tools_->warnings().begin(), tools_->warnings().end());
  }

  absl::StatusOr<std::string> render(const nlohmann::ordered_json& variables) const override {
    const bool tools =
        variables.is_object() && variables.contains("tools") && !variables["tools"].is_null();
    return tools ? tools_->render(variables) : plain_->render(variables);
  }
  bool uses_variable(std::string_view name) const override {
    return plain_->uses_variable(name) || tools_->uses_variable(name);
  }
  bool mentions(std::string_view text) const override {
    return plain_->mentions(text) || tools_->mentions(text);
  }
  bool takes_content_parts() const override {
    return plain_->takes_content_parts() || tools_->takes_content_parts();
  }
  const std::vector<std::string>& warnings() const override { return warnings_; }

 private:
  const std::shared_ptr<const ChatTemplate> plain_;
  const std::shared_ptr<const ChatTemplate> tools_;
  std::vector<std::string> warnings_;
};

struct Source {
  std::string text;
  std::string name;
};
// Of a folder: the template for all and the one for requests with tools, where there is one.
struct Sources {
  std::optional<Source> plain;
  std::optional<Source> tools;

  void add(std::string_view name, std::string text, std::string where) {
    if (name == "default") plain = Source{std::move(text), std::move(where)};
    if (name == "tool_use") tools = Source{std::move(text), std::move(where)};
  }
};

absl::StatusOr<std::optional<Source>> template_file(const std::string& path) {
  absl::StatusOr<std::string> text = read_file(path, kMaxTemplateBytes);
  if (absl::IsNotFound(text.status())) return std::optional<Source>();
  if (!text.ok()) return text.status();
  return std::optional<Source>(Source{*std::move(text), path});
}

// tokenizer_config.json: a template's text, or named ones in a list or an object.
absl::StatusOr<Sources> templates_in_config(const std::string& path) {
  Sources sources;
  const absl::StatusOr<std::string> text = read_file(path, kMaxConfigBytes);
  if (absl::IsNotFound(text.status())) return sources;
  if (!text.ok()) return text.status();
  const auto config = nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (config.is_discarded() || !config.is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is not a JSON object"));
  }
  const auto found = config.find("chat_template");
  if (found == config.end() || found->is_null()) return sources;
  if (found->is_string()) {
    sources.add("default", found->get<std::string>(), path);
  } else if (found->is_object()) {
    for (const auto& [name, value] : found->items()) {
      if (value.is_string())
        sources.add(name, value.get<std::string>(), absl::StrCat(path, " (", name, ")"));
    }
  } else if (found->is_array()) {
    for (const auto& entry : *found) {
      if (!entry.is_object() || !entry.contains("name") || !entry.contains("template")) continue;
      if (!entry["name"].is_string() || !entry["template"].is_string()) continue;
      const auto name = entry["name"].get<std::string>();
      sources.add(name, entry["template"].get<std::string>(), absl::StrCat(path, " (", name, ")"));
    }
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": chat_template is neither a string nor a list of named templates"));
  }
  if (!sources.plain) {
    return absl::NotFoundError(
        absl::StrCat(path, ": chat_template lists no template named \"default\""));
  }
  return sources;
}

absl::StatusOr<Sources> templates_in(const std::string& folder) {
  Sources sources;
  ASSIGN_OR_RETURN(sources.plain, template_file(folder + "/chat_template.jinja"));
  if (!sources.plain) return templates_in_config(folder + "/tokenizer_config.json");
  ASSIGN_OR_RETURN(sources.tools,
                   template_file(folder + "/additional_chat_templates/tool_use.jinja"));
  return sources;
}

}  // namespace

namespace jinja {

absl::StatusOr<std::shared_ptr<const ChatTemplate>> parse_limited(std::string_view source_text,
                                                                  std::string_view source_name,
                                                                  const RenderLimits& limits) {
  const std::string name(source_name);
  if (source_text.size() > kMaxTemplateBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("chat template ", name, " is larger than ", kMaxTemplateBytes, " bytes"));
  }
  absl::StatusOr<ParsedTemplate> parsed = parse_template(source_text);
  if (!parsed.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("chat template ", name, ", ", std::string(parsed.status().message())));
  }
  return std::make_shared<const JinjaTemplate>(*std::move(parsed), name, limits);
}

}  // namespace jinja

absl::StatusOr<std::shared_ptr<const ChatTemplate>> ChatTemplate::parse(
    std::string_view source_text, std::string_view source_name) {
  return jinja::parse_limited(source_text, source_name, jinja::RenderLimits());
}

absl::StatusOr<std::shared_ptr<const ChatTemplate>> ChatTemplate::from_folder(
    const std::string& folder) {
  ASSIGN_OR_RETURN(const Sources sources, templates_in(folder));
  if (!sources.plain) {
    return absl::NotFoundError(
        absl::StrCat("the model in ", folder,
                     " has no chat template (neither chat_template.jinja nor chat_template in "
                     "tokenizer_config.json)"));
  }
  ASSIGN_OR_RETURN(auto plain, parse(sources.plain->text, sources.plain->name));
  if (!sources.tools) return plain;
  ASSIGN_OR_RETURN(auto tools, parse(sources.tools->text, sources.tools->name));
  return std::make_shared<const TemplateWithTools>(std::move(plain), std::move(tools));
}

}  // namespace conclave::coordinator
