#include "cli/conclavectl/flag_table.h"

namespace conclave::ctl {
namespace {

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : " ") + word;
  return out;
}

// What may follow the words of a verb: verbs below it, its flags, the choices of its positionals,
// and the flags of the program.
std::vector<std::string> words_after(const VerbRow& verb, const VerbRow& program) {
  std::vector<std::string> words = verb.verbs;
  for (const FlagRow& flag : verb.flags) words.insert(words.end(), (flag.positional ? flag.choices : flag.names).begin(),
                                                      (flag.positional ? flag.choices : flag.names).end());
  if (verb.path.empty()) return words;
  for (const FlagRow& flag : program.flags) {
    if (!flag.positional && flag.names.back() != "--help") words.insert(words.end(), flag.names.begin(), flag.names.end());
  }
  return words;
}

// Inside single quotes of a shell.
std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

}  // namespace

std::string bash_completion(const std::string& program, const std::vector<VerbRow>& table) {
  const std::string function = "_" + program;
  std::string out = "# bash completion of " + program + "; load it with: source <(" + program + " completion bash)\n" + function +
                    "() {\n  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} verbs='' word\n"
                    "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n    case \"$verbs $word\" in\n";
  for (const VerbRow& verb : table) {
    if (!verb.path.empty()) out += "      ' " + joined(verb.path) + "') verbs=\"$verbs $word\" ;;\n";
  }
  out += "    esac\n  done\n  case \"$previous\" in\n";
  for (const FlagRow& flag : table.front().flags) {
    std::string pattern;
    for (const std::string& name : flag.names) pattern += (pattern.empty() ? "" : "|") + name;
    if (!flag.choices.empty()) {
      out += "    " + pattern + ") mapfile -t COMPREPLY < <(compgen -W '" + joined(flag.choices) + "' -- \"$current\"); return ;;\n";
    } else if (pattern.find("file") != std::string::npos || pattern.find("config") != std::string::npos) {
      out += "    " + pattern + ") mapfile -t COMPREPLY < <(compgen -f -- \"$current\"); return ;;\n";
    }
  }
  out += "  esac\n  local words=''\n  case \"$verbs\" in\n";
  for (const VerbRow& verb : table) {
    const std::string path = verb.path.empty() ? "" : " " + joined(verb.path);
    out += "    '" + path + "') words='" + joined(words_after(verb, table.front())) + "' ;;\n";
  }
  return out + "  esac\n  mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n}\ncomplete -o default -F " + function + " " + program + "\n";
}

std::string zsh_completion(const std::string& program, const std::vector<VerbRow>& table) {
  std::string out = "#compdef " + program + "\n# zsh completion; load it with: source <(" + program + " completion zsh)\n_" + program +
                    "() {\n  local verbs='' word\n  for word in \"${words[@]:1:$((CURRENT-2))}\"; do\n    case \"$verbs $word\" in\n";
  for (const VerbRow& verb : table) {
    if (!verb.path.empty()) out += "      ' " + joined(verb.path) + "') verbs=\"$verbs $word\" ;;\n";
  }
  out += "    esac\n  done\n  case \"$verbs\" in\n";
  for (const VerbRow& verb : table) {
    const std::string path = verb.path.empty() ? "" : " " + joined(verb.path);
    out += "    '" + path + "') compadd -- " + joined(words_after(verb, table.front())) + " ;;\n";
  }
  return out + "  esac\n  _files\n}\ncompdef _" + program + " " + program + "\n";
}

std::string fish_completion(const std::string& program, const std::vector<VerbRow>& table) {
  std::string out = "# fish completion of " + program + "; load it with: " + program + " completion fish | source\n";
  for (const VerbRow& verb : table) {
    std::string condition = "__fish_use_subcommand";
    if (!verb.path.empty()) condition = "__fish_seen_subcommand_from " + verb.path.back();
    for (const VerbRow& other : table) {
      if (other.path.size() == verb.path.size() + 1 && std::equal(verb.path.begin(), verb.path.end(), other.path.begin()))
        out += "complete -c " + program + " -n " + quoted(condition) + " -a " + quoted(other.path.back()) + " -d " + quoted(other.help) + "\n";
    }
    for (const FlagRow& flag : verb.flags) {
      if (flag.positional) {
        if (!flag.choices.empty())
          out += "complete -c " + program + " -n " + quoted(condition) + " -a " + quoted(joined(flag.choices)) + "\n";
        continue;
      }
      out += "complete -c " + program + (verb.path.empty() ? "" : " -n " + quoted(condition));
      for (const std::string& name : flag.names) out += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
      if (flag.takes_value) out += flag.choices.empty() ? " -r" : " -x -a " + quoted(joined(flag.choices));
      out += " -d " + quoted(flag.help) + "\n";
    }
  }
  return out;
}

}  // namespace conclave::ctl
