#include "coordinator/chat_template/chat_template.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
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
    const std::string what = absl::StrCat("chat template ", name_, ", line ", evaluator.line(), ": ",
                                          std::string(text.status().message()));
    return absl::IsResourceExhausted(text.status()) ? absl::ResourceExhaustedError(what)
                                                    : absl::FailedPreconditionError(what);
  }

  bool uses_variable(std::string_view name) const override {
    return parsed_.outside.contains(std::string(name));
  }
  const std::vector<std::string>& warnings() const override { return parsed_.warnings; }

 private:
  jinja::ParsedTemplate parsed_;
  const std::string name_;
  const jinja::RenderLimits limits_;
};

// tokenizer_config.json: a template's text, or a list of named ones of which "default" counts.
absl::StatusOr<std::string> template_in_config(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, read_file(path, kMaxConfigBytes));
  const auto config = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (config.is_discarded() || !config.is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is not a JSON object"));
  }
  const auto found = config.find("chat_template");
  if (found == config.end() || found->is_null()) {
    return absl::NotFoundError(absl::StrCat(path, " has no chat_template"));
  }
  if (found->is_string()) return found->get<std::string>();
  if (found->is_array()) {
    for (const auto& entry : *found) {
      if (!entry.is_object() || !entry.contains("name") || !entry.contains("template")) continue;
      if (entry["name"] != "default" || !entry["template"].is_string()) continue;
      return entry["template"].get<std::string>();
    }
    return absl::NotFoundError(
        absl::StrCat(path, ": chat_template lists no template named \"default\""));
  }
  return absl::InvalidArgumentError(
      absl::StrCat(path, ": chat_template is neither a string nor a list of named templates"));
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
  const std::string file = folder + "/chat_template.jinja";
  const absl::StatusOr<std::string> own = read_file(file, kMaxTemplateBytes);
  if (own.ok()) return parse(*own, file);
  if (!absl::IsNotFound(own.status())) return own.status();
  const std::string config = folder + "/tokenizer_config.json";
  absl::StatusOr<std::string> text = template_in_config(config);
  if (absl::IsNotFound(text.status())) {
    return absl::NotFoundError(
        absl::StrCat("the model in ", folder,
                     " has no chat template (neither chat_template.jinja nor chat_template in "
                     "tokenizer_config.json)"));
  }
  if (!text.ok()) return text.status();
  return parse(*text, config);
}

}  // namespace conclave::coordinator
