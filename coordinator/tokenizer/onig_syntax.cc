#include "coordinator/tokenizer/onig_syntax.h"

#include <algorithm>
#include <cctype>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/tokenizer/onig_properties.h"
#include "coordinator/tokenizer/unicode.h"

namespace conclave::coordinator {
namespace {

constexpr int kMaxClassDepth = 32;

std::string str(std::string_view s) { return std::string(s); }

class Translator {
 public:
  explicit Translator(std::string_view pattern) : in_(pattern) {}

  absl::StatusOr<std::string> run() {
    while (at_ < in_.size()) RETURN_IF_ERROR(step());
    return std::move(out_);
  }

 private:
  bool looking_at(std::string_view text) const {
    return in_.substr(at_).substr(0, text.size()) == text;
  }

  void atom(std::string text) {
    atom_start_ = out_.size();
    out_ += text;
  }

  absl::Status step() {
    const char c = in_[at_];
    if (c == '\\') return escape();
    if (c == '[') {
      ASSIGN_OR_RETURN(std::string text, char_class(0));
      atom(std::move(text));
    } else if (c == '(') {
      open_group();
    } else if (c == ')') {
      atom_start_ = groups_.empty() ? out_.size() : groups_.back();
      if (!groups_.empty()) groups_.pop_back();
      out_ += c;
      ++at_;
    } else if (c == '{' && interval()) {
      return absl::OkStatus();
    } else if (c == '*' || c == '+' || c == '?') {
      out_ += c;
      ++at_;
    } else {
      const size_t length = char_bytes(c);
      atom(str(in_.substr(at_, length)));
      at_ += length;
    }
    return absl::OkStatus();
  }

  void open_group() {
    if (looking_at("(?#")) {  // a comment, in which nothing has a meaning
      const size_t end = in_.find(')', at_);
      at_ = end == std::string_view::npos ? in_.size() : end + 1;
      return;
    }
    groups_.push_back(out_.size());
    out_ += '(';
    ++at_;
    if (!looking_at("?")) return;
    out_ += '?';
    ++at_;
    const size_t start = at_;
    size_t end = start;
    while (end < in_.size() && (in_[end] == 'i' || in_[end] == 'm' || in_[end] == 'x' ||
                                in_[end] == 's' || in_[end] == '-')) {
      ++end;
    }
    if (end < in_.size() && (in_[end] == ':' || in_[end] == ')')) {
      for (; at_ < end; ++at_) out_ += in_[at_] == 'm' ? 's' : in_[at_];
    }
  }

  // {n,m} and {,m}; false if the brace is an ordinary character.
  bool interval() {
    size_t end = at_ + 1;
    const auto digits = [&] {
      const size_t from = end;
      while (end < in_.size() && in_[end] >= '0' && in_[end] <= '9') ++end;
      return str(in_.substr(from, end - from));
    };
    const std::string low = digits();
    const bool comma = end < in_.size() && in_[end] == ',';
    if (comma) ++end;
    const std::string high = comma ? digits() : low;
    if (end >= in_.size() || in_[end] != '}' || (low.empty() && high.empty())) return false;
    at_ = end + 1;
    std::string text = absl::StrCat("{", low.empty() ? "0" : low);
    if (comma) absl::StrAppend(&text, ",", high);
    text += '}';
    if (at_ < in_.size() && in_[at_] == '+') {
      out_.insert(atom_start_, "(?:");
      text += ')';
    }
    out_ += text;
    return true;
  }

  absl::Status escape() {
    if (at_ + 1 >= in_.size()) return absl::InvalidArgumentError("ends in a lone backslash");
    const char c = in_[at_ + 1];
    if (c == 'b' || c == 'B') {
      const std::string word = absl::StrCat("[", word_items(), "]");
      const std::string inside = absl::StrCat("(?<=", word, ")(?=", word, ")");
      const std::string outside = absl::StrCat("(?<!", word, ")(?!", word, ")");
      const std::string start = absl::StrCat("(?<!", word, ")(?=", word, ")");
      const std::string end = absl::StrCat("(?<=", word, ")(?!", word, ")");
      atom(c == 'b' ? absl::StrCat("(?:", start, "|", end, ")")
                    : absl::StrCat("(?:", inside, "|", outside, ")"));
      at_ += 2;
    } else if (c == 'O') {
      atom("(?s:.)");
      at_ += 2;
    } else if (c == 'Q' || c == 'E') {
      atom(std::string(1, c));
      at_ += 2;
    } else if (const std::optional<Item> item = property_escape(false)) {
      atom(absl::StrCat(item->negated ? "[^" : "[", item->text, "]"));
    } else {
      atom(plain_escape());
    }
    return absl::OkStatus();
  }

  struct Item {
    std::string text;  // items of a PCRE2 class
    bool negated;
  };

  // A backslash sequence that stands for a set of characters and that PCRE2 would read differently.
  std::optional<Item> property_escape(bool in_class) {
    const char c = in_[at_ + 1];
    const auto shorthand = [&](std::string_view items) {
      at_ += 2;
      return Item{str(items), std::isupper(static_cast<unsigned char>(c)) != 0};
    };
    if (c == 'd' || c == 'D') return shorthand(*posix_class_items("digit"));
    if (c == 's' || c == 'S') return shorthand("\\p{White_Space}");
    if (c == 'w' || c == 'W') return shorthand(in_class ? posix_word_items() : word_items());
    if (c == 'h' || c == 'H') return shorthand("0-9A-Fa-f");
    if ((c != 'p' && c != 'P') || at_ + 2 >= in_.size() || in_[at_ + 2] != '{') return std::nullopt;
    const size_t close = in_.find('}', at_);
    if (close == std::string_view::npos) return std::nullopt;
    std::string_view name = in_.substr(at_ + 3, close - at_ - 3);
    bool negated = c == 'P';
    if (!name.empty() && name[0] == '^') {
      negated = !negated;
      name.remove_prefix(1);
    }
    at_ = close + 1;
    return Item{property_items(name), negated};
  }

  // Any other backslash sequence, as one character or an escape both languages share.
  std::string plain_escape() {
    const char c = in_[at_ + 1];
    if (c == 'u' && at_ + 6 <= in_.size()) {
      const std::string hex = str(in_.substr(at_ + 2, 4));
      if (std::all_of(hex.begin(), hex.end(), [](unsigned char h) { return std::isxdigit(h); })) {
        at_ += 6;
        return absl::StrCat("\\x{", hex, "}");
      }
    }
    if (c == 'v') {
      at_ += 2;
      return "\\x0b";
    }
    const size_t length = 1 + char_bytes(c);
    std::string text = str(in_.substr(at_, length));
    at_ += length;
    return text;
  }

  // From '[' to its ']'. A class without nesting stays a class; otherwise it becomes a group that
  // matches one character: unions as alternatives, intersections as a lookahead before the rest.
  absl::StatusOr<std::string> char_class(int depth) {
    if (depth > kMaxClassDepth)
      return absl::InvalidArgumentError("nests character classes too deeply");
    ++at_;
    const bool negated = looking_at("^");
    if (negated) ++at_;
    std::vector<std::string> operands;  // of &&, each matching one character
    std::string items;                  // of the operand being read
    std::vector<std::string> nested;
    bool first = true;
    while (true) {
      if (at_ >= in_.size()) return absl::InvalidArgumentError("has a character class without ']'");
      if (in_[at_] == ']' && !first) break;
      if (looking_at("&&")) {
        at_ += 2;
        operands.push_back(union_of(items, nested));
        items.clear();
        nested.clear();
      } else if (in_[at_] != '[') {
        RETURN_IF_ERROR(class_item(first, items, nested));
      } else if (!posix_class(items, nested)) {
        ASSIGN_OR_RETURN(std::string text, char_class(depth + 1));
        nested.push_back(std::move(text));
      }
      first = false;
    }
    ++at_;
    if (operands.empty() && nested.empty()) {
      return absl::StrCat(negated ? "[^" : "[", items, "]");
    }
    operands.push_back(union_of(items, nested));
    std::string text = "(?:";
    for (size_t i = 0; i + 1 < operands.size(); ++i)
      absl::StrAppend(&text, "(?=", operands[i], ")");
    absl::StrAppend(&text, operands.back(), ")");
    return negated ? absl::StrCat("(?:(?!", text, ")(?s:.))") : text;
  }

  absl::Status class_item(bool first, std::string& items, std::vector<std::string>& nested) {
    const char c = in_[at_];
    if (c == '\\') {
      if (at_ + 1 >= in_.size()) return absl::InvalidArgumentError("ends in a lone backslash");
      if (const std::optional<Item> item = property_escape(true)) {
        if (item->negated) {
          nested.push_back(absl::StrCat("[^", item->text, "]"));
        } else {
          items += item->text;
        }
      } else if (in_[at_ + 1] == 'Q' || in_[at_ + 1] == 'E') {
        items += in_[at_ + 1];
        at_ += 2;
      } else {
        items += plain_escape();
      }
      return absl::OkStatus();
    }
    const size_t length = char_bytes(c);
    if (c == ']' && first) items += '\\';
    items += in_.substr(at_, length);
    at_ += length;
    return absl::OkStatus();
  }

  // [:name:] and [:^name:] inside a class.
  bool posix_class(std::string& items, std::vector<std::string>& nested) {
    if (!looking_at("[:")) return false;
    const size_t close = in_.find(":]", at_ + 2);
    if (close == std::string_view::npos) return false;
    std::string_view name = in_.substr(at_ + 2, close - at_ - 2);
    const bool negated = name.substr(0, 1) == "^";
    if (negated) name.remove_prefix(1);
    for (const char c : name) {
      if (!std::isalpha(static_cast<unsigned char>(c))) return false;
    }
    at_ = close + 2;
    std::string text = absl::StrCat("[:", str(name), ":]");
    if (std::optional<std::string> known = posix_class_items(name)) text = *std::move(known);
    if (name == "word") text = posix_word_items();
    if (name == "punct") text = absl::StrCat(property_items("P"), property_items("S"));
    if (negated) {
      nested.push_back(absl::StrCat("[^", text, "]"));
    } else {
      items += text;
    }
    return true;
  }

  static std::string union_of(const std::string& items, const std::vector<std::string>& nested) {
    if (items.empty() && nested.empty()) return "(*FAIL)";
    if (nested.empty()) return absl::StrCat("[", items, "]");
    if (items.empty() && nested.size() == 1) return nested[0];
    std::string text = "(?:";
    if (!items.empty()) absl::StrAppend(&text, "[", items, "]|");
    for (size_t i = 0; i < nested.size(); ++i) absl::StrAppend(&text, i == 0 ? "" : "|", nested[i]);
    return text + ")";
  }

  std::string_view in_;
  size_t at_ = 0;
  std::string out_;
  size_t atom_start_ = 0;       // in out_: where the atom before a quantifier begins
  std::vector<size_t> groups_;  // in out_: open parentheses
};

}  // namespace

absl::StatusOr<std::string> pcre2_from_onig(std::string_view pattern) {
  return Translator(pattern).run();
}

}  // namespace conclave::coordinator
