#include "cli/conclavectl/flag_table.h"

#include <CLI/CLI.hpp>

namespace conclave::ctl {
namespace {

// CLI11 keeps the words of IsMember only in the option's type text: "TEXT:{a,b}".
std::vector<std::string> choices_of(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const size_t open = type.find('{');
  const size_t close = type.find('}', open);
  std::vector<std::string> choices;
  if (open == std::string::npos || close == std::string::npos) return choices;
  std::string word;
  for (size_t i = open + 1; i <= close; ++i) {
    if (type[i] == ',' || i == close) {
      choices.push_back(std::move(word));
      word.clear();
    } else {
      word.push_back(type[i]);
    }
  }
  return choices;
}

FlagRow row_of(const CLI::Option& option) {
  FlagRow row;
  for (const std::string& name : option.get_snames()) row.names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) row.names.push_back("--" + name);
  row.positional = row.names.empty();
  if (row.positional) row.names.push_back(option.get_name());
  row.takes_value = option.get_items_expected_max() > 0;
  row.required = option.get_required();
  row.help = option.get_description();
  row.default_value = option.get_default_str();
  row.environment = option.get_envname();
  row.choices = choices_of(option);
  return row;
}

void append(const CLI::App& app, const std::vector<std::string>& path, std::vector<VerbRow>* table) {
  const size_t at = table->size();
  table->push_back({path, app.get_description(), {}, {}});
  for (const CLI::Option* option : app.get_options()) (*table)[at].flags.push_back(row_of(*option));
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; })) {
    (*table)[at].verbs.push_back(verb->get_name());
    std::vector<std::string> below = path;
    below.push_back(verb->get_name());
    append(*verb, below, table);
  }
}

}  // namespace

std::vector<VerbRow> flag_table(const CLI::App& app) {
  std::vector<VerbRow> table;
  append(app, {}, &table);
  return table;
}

}  // namespace conclave::ctl
