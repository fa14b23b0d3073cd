#include "coordinator/http/api_key_file.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/log.h"
#include "base/status_macros.h"

namespace conclave::coordinator {
namespace {

constexpr int32_t kMaxWeight = 1000;
constexpr int32_t kMaxPriority = 2147483647;
constexpr size_t kMaxName = 64;

// Up to the end or the first word that begins with #.
std::vector<std::string_view> words_of(std::string_view line) {
  constexpr std::string_view kSpace = " \t\r";
  std::vector<std::string_view> words;
  for (size_t begin = line.find_first_not_of(kSpace); begin != std::string_view::npos;) {
    const size_t end = std::min(line.find_first_of(kSpace, begin), line.size());
    if (line[begin] == '#') break;
    words.push_back(line.substr(begin, end - begin));
    begin = line.find_first_not_of(kSpace, end);
  }
  return words;
}

// Both ends included.
std::optional<int32_t> integer_between(std::string_view text, int32_t least, int32_t most) {
  int32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value >= least && value <= most ? std::optional(value) : std::nullopt;
}

bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= kMaxName &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-' || c == '_' || c == '.';
         });
}

// As a header can carry it; a byte order mark or a smart quote would make a key that nobody can
// send.
bool is_key(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c <= '~'; });
}

std::string set_name(std::string_view value, ApiKey* key) {
  if (!is_name(value)) {
    return absl::StrCat("a name has 1 to ", kMaxName, " of the characters A-Z a-z 0-9 - _ .");
  }
  key->name = std::string(value);
  return "";
}

std::string set_weight(std::string_view value, ApiKey* key) {
  const auto weight = integer_between(value, 1, kMaxWeight);
  if (!weight) return absl::StrCat("a weight is a whole number from 1 to ", kMaxWeight);
  key->weight = *weight;
  return "";
}

std::string set_best_priority(std::string_view value, ApiKey* key) {
  const auto priority = integer_between(value, -kMaxPriority, kMaxPriority);
  if (!priority) {
    return absl::StrCat("best_priority is a whole number from -", kMaxPriority, " to ",
                        kMaxPriority);
  }
  key->best_priority = *priority;
  return "";
}

// What is wrong with the settings behind the key, "" if nothing.
std::string read_settings(std::vector<std::string_view> words, ApiKey* key) {
  static const std::map<std::string_view, std::string (*)(std::string_view, ApiKey*)> kSettings = {
      {"name", set_name}, {"weight", set_weight}, {"best_priority", set_best_priority}};
  std::set<std::string_view> given;
  for (size_t i = 1; i < words.size(); ++i) {
    const size_t equals = words[i].find('=');
    const auto setting = kSettings.find(words[i].substr(0, equals));
    // The word may be the rest of a key with a blank in it: it is not repeated.
    if (equals == std::string_view::npos || setting == kSettings.end()) {
      return absl::StrCat("word ", i + 1,
                          " is no setting; behind a key, which has no blanks, may stand "
                          "name=NAME, weight=W and best_priority=P");
    }
    const std::string name(setting->first);
    if (!given.insert(setting->first).second) return name + " is given twice";
    if (std::string wrong = setting->second(words[i].substr(equals + 1), key); !wrong.empty())
      return wrong;
  }
  return "";
}

}  // namespace

absl::StatusOr<std::vector<ApiKeyLine>> parse_api_key_lines(std::string_view text,
                                                            std::string_view source) {
  std::vector<ApiKeyLine> keys;
  std::map<std::string, int> line_of_secret, line_of_name;
  for (int number = 1; !text.empty(); ++number) {
    const size_t end = text.find('\n');
    const std::vector<std::string_view> words = words_of(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (words.empty()) continue;
    const auto wrong = [&](const std::string& why) {
      return absl::InvalidArgumentError(absl::StrCat(std::string(source), ":", number, ": ", why));
    };
    if (!is_key(words.front())) return wrong("a key is made of printable ASCII characters");
    ApiKeyLine line{std::string(words.front()), {absl::StrCat("key-", number)}};
    if (const std::string why = read_settings(words, &line.key); !why.empty()) return wrong(why);
    const auto [secret, new_secret] = line_of_secret.emplace(line.secret, number);
    if (!new_secret)
      return wrong(absl::StrCat("the key of line ", secret->second, " again; take one away"));
    const auto [name, new_name] = line_of_name.emplace(line.key.name, number);
    if (!new_name) {
      return wrong(absl::StrCat("the name ", line.key.name, " belongs to line ", name->second,
                                " already; give each key its own"));
    }
    keys.push_back(std::move(line));
  }
  if (!keys.empty()) return keys;
  return absl::InvalidArgumentError(absl::StrCat(
      std::string(source), ": holds no key; write one key a line, or serve without the file"));
}

absl::StatusOr<std::string> first_api_key(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, read_file(path, size_t{1} << 20));
  ASSIGN_OR_RETURN(const std::vector<ApiKeyLine> keys, parse_api_key_lines(text, path));
  return keys.front().secret;
}

absl::Status check_api_key_file(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) {
    const std::string why =
        absl::StrCat(path, ": cannot look at the key file: ", std::strerror(errno));
    return errno == ENOENT || errno == ENOTDIR ? absl::NotFoundError(why)
                                               : absl::PermissionDeniedError(why);
  }
  if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return absl::PermissionDeniedError(
        absl::StrCat(path, ": ", (info.st_mode & S_IWOTH) != 0 ? "everyone" : "the file's group",
                     " may write this file and so give themselves a key; run: chmod go-w ", path));
  }
  if (S_ISREG(info.st_mode) && (info.st_mode & S_IROTH) != 0) {
    log_warning("everyone on this machine may read the keys; chmod 600 keeps them to their owner",
                {{"file", path}});
  }
  return absl::OkStatus();
}

}  // namespace conclave::coordinator
