#include "cli/conclavectl/flag_table.h"

#include <algorithm>

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

bool is_path(const FlagRow& flag) {
  return flag.choices.empty() && (flag.names.back().find("file") != std::string::npos || flag.names.back() == "--config");
}

// The arms of a case statement that collect in $verbs, word by word, the path of the verb under way: a word that
// is no verb there (a flag, a value) changes nothing.
std::string path_arms(const std::vector<VerbRow>& table) {
  std::string out;
  for (const VerbRow& verb : table) {
    if (!verb.path.empty()) out += "      ' " + joined(verb.path) + "') verbs=\"$verbs $word\" ;;\n";
  }
  return out;
}

// What a shell's case calls the flag's names: "-o|--output".
std::string name_pattern(const FlagRow& flag) {
  std::string out;
  for (const std::string& name : flag.names) out += (out.empty() ? "" : "|") + name;
  return out;
}

std::string quoted_path(const VerbRow& verb) { return verb.path.empty() ? "''" : "' " + joined(verb.path) + "'"; }

}  // namespace

std::string bash_completion(const std::string& program, const std::vector<VerbRow>& table) {
  const std::string function = "_" + program;
  std::string out = "# bash completion of " + program + "; load it with: source <(" + program + " completion bash)\n" + function +
                    "() {\n  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} verbs='' word\n"
                    "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n    case \"$verbs $word\" in\n" +
                    path_arms(table) + "    esac\n  done\n  case \"$previous\" in\n";
  for (const FlagRow& flag : table.front().flags) {
    if (!flag.choices.empty()) {
      out += "    " + name_pattern(flag) + ") mapfile -t COMPREPLY < <(compgen -W '" + joined(flag.choices) + "' -- \"$current\"); return ;;\n";
    } else if (is_path(flag)) {
      out += "    " + name_pattern(flag) + ") mapfile -t COMPREPLY < <(compgen -f -- \"$current\"); return ;;\n";
    }
  }
  out += "  esac\n  local words=''\n  case \"$verbs\" in\n";
  for (const VerbRow& verb : table) out += "    " + quoted_path(verb) + ") words='" + joined(words_after(verb, table.front())) + "' ;;\n";
  return out + "  esac\n  mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n}\ncomplete -o default -F " + function + " " + program + "\n";
}

std::string zsh_completion(const std::string& program, const std::vector<VerbRow>& table) {
  std::string out = "#compdef " + program + "\n# zsh completion; load it with: source <(" + program + " completion zsh)\n_" + program +
                    "() {\n  local verbs='' word\n  for word in \"${words[@]:1:$((CURRENT-2))}\"; do\n    case \"$verbs $word\" in\n" +
                    path_arms(table) + "    esac\n  done\n  case \"${words[CURRENT-1]}\" in\n";
  for (const FlagRow& flag : table.front().flags) {
    if (!flag.choices.empty()) {
      out += "    " + name_pattern(flag) + ") compadd -- " + joined(flag.choices) + "; return ;;\n";
    } else if (is_path(flag)) {
      out += "    " + name_pattern(flag) + ") _files; return ;;\n";
    }
  }
  out += "  esac\n  case \"$verbs\" in\n";
  for (const VerbRow& verb : table) {
    out += "    " + quoted_path(verb) + ") compadd -- " + joined(words_after(verb, table.front())) + " && return ;;\n";
  }
  // Files only where no word of ours fits: they would make every verb ambiguous.
  return out + "  esac\n  _files\n}\ncompdef _" + program + " " + program + "\n";
}

std::string fish_completion(const std::string& program, const std::vector<VerbRow>& table) {
  const std::string at = "__" + program + "_at";
  // Verbs below two verbs may have one name ("profile start", "trace start"): conditions compare whole paths.
  std::string out = "# fish completion of " + program + "; load it with: " + program + " completion fish | source\nfunction " + at +
                    "\n    set -l verbs ''\n    for word in (commandline -opc)[2..-1]\n        switch \"$verbs $word\"\n            case";
  for (const VerbRow& verb : table) {
    if (!verb.path.empty()) out += " " + quoted_path(verb);
  }
  out += "\n                set verbs \"$verbs $word\"\n        end\n    end\n    test \"$verbs\" = \"$argv[1]\"\nend\ncomplete -c " + program + " -f\n";
  for (const VerbRow& verb : table) {
    const std::string here = "complete -c " + program + " -n " + quoted(at + " " + quoted_path(verb));
    for (const VerbRow& other : table) {
      if (other.path.size() == verb.path.size() + 1 && std::equal(verb.path.begin(), verb.path.end(), other.path.begin()))
        out += here + " -a " + quoted(other.path.back()) + " -d " + quoted(other.help) + "\n";
    }
    for (const FlagRow& flag : verb.flags) {
      if (flag.positional) {
        if (!flag.choices.empty()) out += here + " -a " + quoted(joined(flag.choices)) + "\n";
        if (is_path(flag)) out += here + " -F\n";
        continue;
      }
      out += verb.path.empty() ? "complete -c " + program : here;
      for (const std::string& name : flag.names) out += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
      if (flag.takes_value) out += flag.choices.empty() ? " -r -F" : " -x -a " + quoted(joined(flag.choices));
      out += " -d " + quoted(flag.help) + "\n";
    }
  }
  return out;
}

}  // namespace conclave::ctl
