#include <sstream>

#include "cli/conclavectl/flag_table.h"

namespace conclave::ctl {
namespace {

// Backslashes and leading dots mean something to roff, and a bare minus prints as a hyphen.
std::string roff(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else if ((c == '.' || c == '\'') && (out.empty() || out.back() == '\n')) {
      out += std::string("\\&") + c;
    } else {
      out.push_back(c);
    }
  }
  return out;
}

std::string joined(const std::vector<std::string>& words, const char* between) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : between) + word;
  return out;
}

void append_flag(const FlagRow& flag, std::string* out) {
  *out += ".TP\n\\fB" + roff(joined(flag.names, ", ")) + "\\fR";
  if (flag.takes_value && !flag.positional) *out += " \\fIVALUE\\fR";
  *out += "\n" + roff(flag.help);
  if (flag.required) *out += " (required)";
  if (!flag.choices.empty()) *out += ". One of: " + roff(joined(flag.choices, ", "));
  if (!flag.default_value.empty()) *out += ". Default: " + roff(flag.default_value);
  if (!flag.environment.empty()) *out += ". Environment: " + roff(flag.environment);
  *out += ".\n";
}

std::string page(const std::string& program, const std::string& version, const VerbRow& verb, const std::vector<VerbRow>& table,
                 const std::string& exit_codes) {
  std::vector<std::string> words = {program};
  words.insert(words.end(), verb.path.begin(), verb.path.end());
  const std::string title = joined(words, "-");
  std::string out = ".TH \"" + title + "\" 1 \"\" \"" + program + " " + version + "\" \"Conclave\"\n.SH NAME\n" + roff(title) + " \\- " +
                    roff(verb.help) + "\n.SH SYNOPSIS\n.B " + roff(joined(words, " ")) + "\n";
  for (const FlagRow& flag : verb.flags) {
    if (flag.positional) out += flag.required ? "\\fI" + flag.names[0] + "\\fR\n" : "[\\fI" + flag.names[0] + "\\fR]\n";
  }
  out += verb.verbs.empty() ? "[\\fIOPTION\\fR...]\n" : "\\fIVERB\\fR [\\fIOPTION\\fR...]\n";
  if (!verb.verbs.empty()) {
    out += ".SH VERBS\n";
    for (const VerbRow& other : table) {
      if (other.path.size() != verb.path.size() + 1 || !std::equal(verb.path.begin(), verb.path.end(), other.path.begin())) continue;
      out += ".TP\n\\fB" + roff(other.path.back()) + "\\fR\n" + roff(other.help) + "\n";
    }
  }
  out += ".SH OPTIONS\n";
  for (const FlagRow& flag : verb.flags) append_flag(flag, &out);
  if (!verb.path.empty()) out += ".PP\nThe options of \\fB" + roff(program) + "\\fR(1) may follow the verb as well.\n";
  return out + ".SH EXIT STATUS\n" + roff(exit_codes) + "\n";
}

}  // namespace

std::map<std::string, std::string> man_pages(const std::string& program, const std::string& version, const std::vector<VerbRow>& table,
                                             const std::string& exit_codes) {
  std::map<std::string, std::string> pages;
  for (const VerbRow& verb : table) {
    std::string name = program;
    for (const std::string& word : verb.path) name += "-" + word;
    pages[name + ".1"] = page(program, version, verb, table, exit_codes);
  }
  return pages;
}

}  // namespace conclave::ctl
