#ifndef CONCLAVE_CLI_CONCLAVECTL_FLAG_TABLE_H_
#define CONCLAVE_CLI_CONCLAVECTL_FLAG_TABLE_H_

// The verbs and flags of a program as they were declared, and what is made of them: man pages and
// shell completions. So none of the three can tell something else than --help.

#include <map>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace conclave::ctl {

struct FlagRow {
  std::vector<std::string> names;  // "-o", "--output"; one bare word for a positional
  bool positional = false;
  bool takes_value = false;
  bool required = false;
  std::string help, default_value, environment;
  std::vector<std::string> choices;
};
struct VerbRow {
  std::vector<std::string> path;  // {"placement", "plan"}; empty: the program itself
  std::string help;
  std::vector<FlagRow> flags;
  std::vector<std::string> verbs;  // below it
};

// The program first, then its verbs in the order of declaration, each before those below it.
std::vector<VerbRow> flag_table(const CLI::App& app);

// roff pages by file name: conclavectl.1, conclavectl-placement-plan.1, …
std::map<std::string, std::string> man_pages(const std::string& program, const std::string& version,
                                             const std::vector<VerbRow>& table, const std::string& exit_codes);

std::string bash_completion(const std::string& program, const std::vector<VerbRow>& table);
std::string zsh_completion(const std::string& program, const std::vector<VerbRow>& table);
std::string fish_completion(const std::string& program, const std::vector<VerbRow>& table);

}  // namespace conclave::ctl

#endif  // CONCLAVE_CLI_CONCLAVECTL_FLAG_TABLE_H_
