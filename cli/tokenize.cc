#include <CLI/CLI.hpp>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/status_macros.h"
#include "cli/commands.h"
#include "cli/exit_codes.h"
#include "coordinator/tokenizer/tokenizer.h"
#include "model/model_folder.h"

namespace conclave::cli {
namespace {

struct TokenizeOptions {
  std::string model;
  bool no_special = false;
};

absl::Status tokenize(const TokenizeOptions& o) {
  ASSIGN_OR_RETURN(const std::string folder, model::resolve_model_folder(o.model));
  ASSIGN_OR_RETURN(const auto tokenizer, coordinator::Tokenizer::from_folder(folder));
  const std::string text{std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
  std::puts(nlohmann::json(tokenizer->encode(text, !o.no_special)).dump().c_str());
  return absl::OkStatus();
}

}  // namespace

void add_tokenize_command(CLI::App& app, int* exit_code) {
  auto o = std::make_shared<TokenizeOptions>();
  CLI::App* command = app.add_subcommand("tokenize", "Read text on stdin, print its token ids as a JSON array");
  command->footer("All of stdin counts, a final newline too: printf 'text' | conclave tokenize ...\n\n" + std::string(kExitCodeHelp));
  command->add_option("-m,--model", o->model, "model folder with tokenizer.json")->required();
  command->add_flag("--no-special", o->no_special, "do not add the tokens that the model wants around a text");
  command->callback([o, exit_code] { *exit_code = report(tokenize(*o)); });
}

}  // namespace conclave::cli
