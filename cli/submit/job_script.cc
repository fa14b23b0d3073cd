#include "cli/submit/job_script.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace conclave::cli {
namespace {

using Values = std::map<std::string, std::string, std::less<>>;

bool is_plain(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 ||
           std::string_view("_-+=.,:/@%").find(static_cast<char>(c)) != std::string_view::npos;
  });
}

absl::Status check_text(const char* flag, std::string_view text) {
  for (const unsigned char c : text) {
    if (c < 0x20 || c == 0x7f) {
      return absl::InvalidArgumentError(
          absl::StrCat(flag, " holds a line break or control character; write it without"));
    }
  }
  return absl::OkStatus();
}

// Slurm splits #SBATCH lines at blanks and knows no quoting that all versions share.
absl::Status check_word(const char* flag, std::string_view text) {
  if (text.empty() || is_plain(text)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      flag, " is \"", std::string(text), "\"; expected letters, digits and any of _-+=.,:/@%"));
}

absl::Status check(const JobOptions& o) {
  const std::pair<const char*, int32_t> at_least_one[] = {
      {"--nodes", o.nodes}, {"--ranks-per-node", o.ranks_per_node}, {"--lead", o.lead_s}};
  for (const auto& [flag, value] : at_least_one) {
    if (value < 1)
      return absl::InvalidArgumentError(absl::StrCat(flag, " is ", value, ", expected at least 1"));
  }
  const std::pair<const char*, const std::string*> words[] = {{"--name", &o.name},
                                                              {"--time", &o.time},
                                                              {"--partition", &o.partition},
                                                              {"--account", &o.account},
                                                              {"--qos", &o.qos},
                                                              {"--listen", &o.listen},
                                                              {"--folder", &o.folder},
                                                              {"--targets-dir", &o.targets_folder}};
  for (const auto& [flag, value] : words) RETURN_IF_ERROR(check_word(flag, *value));
  if (o.name.empty() || o.name.find('/') != std::string::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat("--name is \"", o.name, "\"; expected a name without slashes"));
  }
  RETURN_IF_ERROR(check_text("--model", o.model));
  RETURN_IF_ERROR(check_text("--api-key-file", o.api_key_file));
  RETURN_IF_ERROR(check_text("--admin-key-file", o.admin_key_file));
  for (const std::string& option : o.sbatch_options) {
    RETURN_IF_ERROR(check_text("--sbatch-option", option));
    if (!option.starts_with("-")) {
      return absl::InvalidArgumentError(
          absl::StrCat("--sbatch-option is \"", option, "\"; expected an option such as --mem=0"));
    }
  }
  for (const std::string& flag : o.coordinator_flags)
    RETURN_IF_ERROR(check_text("a coordinator flag", flag));
  if (o.chain && o.port != 0) {
    return absl::InvalidArgumentError(
        "--chain with a fixed --port: successor and predecessor may share a node; leave --port "
        "out, the endpoint file tells it");
  }
  return absl::OkStatus();
}

std::string sbatch_lines(const JobOptions& o) {
  std::string lines;
  const auto add = [&](const std::string& option) {
    absl::StrAppend(&lines, "#SBATCH ", option, "\n");
  };
  add("--job-name=" + o.name);
  add(absl::StrCat("--nodes=", o.nodes));
  add(absl::StrCat("--ntasks-per-node=", o.ranks_per_node));
  if (o.cpus_per_rank > 0) add(absl::StrCat("--cpus-per-task=", o.cpus_per_rank));
  if (o.gpus_per_node > 0) add(absl::StrCat("--gres=gpu:", o.gpus_per_node));
  if (!o.time.empty()) add("--time=" + o.time);
  if (!o.partition.empty()) add("--partition=" + o.partition);
  if (!o.account.empty()) add("--account=" + o.account);
  if (!o.qos.empty()) add("--qos=" + o.qos);
  add(absl::StrCat("--signal=B:USR1@", o.lead_s));
  add("--requeue");
  add("--open-mode=append");
  add("--output=" + o.folder + "/slurm-%j.log");
  for (const std::string& option : o.sbatch_options) add(option);
  lines.pop_back();
  return lines;
}

std::string toml_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out.push_back('\\');
    out.push_back(c);
  }
  return out + "\"";
}

std::string key_file(const JobOptions& o) {
  if (!o.api_key) return "";
  return o.api_key_file.empty() ? o.folder + "/api_key" : o.api_key_file;
}

// The coordinator's settings file.
std::string config_lines(const JobOptions& o) {
  std::string lines;
  const auto text = [&](const char* key, std::string_view value) {
    absl::StrAppend(&lines, key, " = ", toml_string(value), "\n");
  };
  const auto number = [&](const char* key, int64_t value) {
    absl::StrAppend(&lines, key, " = ", value, "\n");
  };
  text("model", o.model);
  number("ranks", int64_t{o.nodes} * o.ranks_per_node);
  text("transport", "mpi");
  if (o.cpus_per_rank > 0) number("threads", o.cpus_per_rank);
  // Slurm signals tasks too; ranks end when the coordinator says so.
  text("mpi-args", "env --ignore-signal=TERM,USR1");
  number("port", o.port);
  number("admin-port", o.admin_port);
  // The rest of the lead is for Slurm's habit to be late and for the end of the processes.
  number("drain-timeout-s", std::max(1, o.lead_s - std::max(2, o.lead_s / 10)));
  number("handover-linger-s", o.handover_linger_s);
  if (const std::string file = key_file(o); !file.empty()) text("api-key-file", file);
  if (!o.admin_key_file.empty()) text("admin-key-file", o.admin_key_file);
  lines.pop_back();
  return lines;
}

std::string quoted_list(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words)
    absl::StrAppend(&out, out.empty() ? "" : " ", shell_quote(word));
  return out;
}

std::string preflight_flags(const JobOptions& o) {
  std::vector<std::string> flags;
  if (o.min_memory_bytes > 0)
    flags.push_back(absl::StrCat("--min-memory=", o.min_memory_bytes, "B"));
  if (o.min_read_mib_per_s > 0)
    flags.push_back(absl::StrCat("--min-read-rate=", o.min_read_mib_per_s));
  return quoted_list(flags);
}

std::string step_flags(const JobOptions& o) {
  std::string flags = absl::StrCat("--ntasks-per-node=", o.ranks_per_node);
  if (o.cpus_per_rank > 0) absl::StrAppend(&flags, " --cpus-per-task=", o.cpus_per_rank);
  if (o.gpus_per_node > 0) absl::StrAppend(&flags, " --gres=gpu:", o.gpus_per_node);
  return flags;
}

Values values_of(const JobOptions& o, const std::string& program) {
  return {
      {"sbatch", sbatch_lines(o)},
      {"program", shell_quote(program)},
      {"service", shell_quote(o.folder)},
      {"targets", shell_quote(o.targets_folder.empty() ? o.folder + "/targets" : o.targets_folder)},
      {"name", shell_quote(o.name)},
      {"model", shell_quote(o.model)},
      {"nodes", absl::StrCat(o.nodes)},
      {"gpus_per_node", absl::StrCat(o.gpus_per_node)},
      {"listen", shell_quote(o.listen)},
      {"chain", o.chain ? "yes" : "no"},
      {"lead", absl::StrCat(o.lead_s)},
      {"preflight", o.preflight ? "yes" : "no"},
      {"preflight_flags", preflight_flags(o)},
      {"coordinator_flags", quoted_list(o.coordinator_flags)},
      {"api_key_file", shell_quote(key_file(o))},
      {"config", config_lines(o)},
      {"step_flags", step_flags(o)}};
}

// The length of a name between two @ at the beginning of text; 0 if there is none.
size_t name_length(std::string_view text) {
  size_t n = 1;
  while (n < text.size() &&
         (std::islower(static_cast<unsigned char>(text[n])) != 0 || text[n] == '_'))
    ++n;
  return n > 1 && n < text.size() && text[n] == '@' ? n - 1 : 0;
}

}  // namespace

std::string shell_quote(std::string_view text) {
  if (is_plain(text)) return std::string(text);
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      out.push_back(c);
    }
  }
  return out + "'";
}

absl::StatusOr<std::string> render_job_script(std::string_view text, const JobOptions& options,
                                              const std::string& program) {
  RETURN_IF_ERROR(check(options));
  const Values values = values_of(options, program);
  std::set<std::string> used;
  std::string out;
  while (!text.empty()) {
    const size_t at = text.find('@');
    out.append(text.substr(0, at));
    if (at == std::string_view::npos) break;
    text.remove_prefix(at);
    const size_t length = name_length(text);
    if (length == 0) {
      out.push_back('@');
      text.remove_prefix(1);
      continue;
    }
    const std::string name(text.substr(1, length));
    const auto found = values.find(name);
    if (found == values.end())
      return absl::InvalidArgumentError(
          absl::StrCat("the template has @", name, "@, which names nothing"));
    used.insert(name);
    // "#@sbatch@" keeps the template a valid script; its '#' is part of what is replaced.
    if (name == "sbatch" && out.ends_with('#')) out.pop_back();
    out.append(found->second);
    text.remove_prefix(length + 2);
  }
  for (const auto& [name, value] : values) {
    if (!used.contains(name))
      return absl::InvalidArgumentError(absl::StrCat("the template lacks @", name, "@"));
  }
  return out;
}

}  // namespace conclave::cli
