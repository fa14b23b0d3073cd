#include "coordinator/chat_template/lexer.h"

#include <algorithm>
#include <array>
#include <optional>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/chat_template/literals.h"
#include "coordinator/chat_template/unicode.h"

namespace conclave::coordinator::jinja {
namespace {

constexpr std::array<std::string_view, 26> kOperators = {
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
    "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};

std::string normalize_newlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out += source[i];
      continue;
    }
    out += '\n';
    if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

// Where an opening tag starts and how it treats the whitespace before it.
struct Opening {
  size_t begin = 0;
  size_t end = 0;  // after the tag and its sign
  char sign = 0;   // '-', '+' or 0
  char type = 0;   // '{' variable, '%' block, '#' comment, 'r' raw block
};

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) {}

  absl::StatusOr<std::vector<Token>> run() {
    while (at_ < source_.size()) {
      const std::optional<Opening> opening = find_opening();
      if (!opening) {
        add_text(source_.substr(at_));
        at_ = source_.size();
        break;
      }
      add_text_before(*opening);
      move_to(opening->end);
      RETURN_IF_ERROR(read_tag(*opening));
    }
    add(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  absl::Status fail(std::string_view what) const {
    return absl::InvalidArgumentError(absl::StrCat("line ", line_, ": ", std::string(what)));
  }

  void add(TokenKind kind, std::string_view text) {
    tokens_.push_back(Token{.kind = kind, .line = line_, .text = std::string(text)});
  }

  void add_text(std::string_view text) {
    if (!text.empty()) add(TokenKind::kText, text);
  }

  void move_to(size_t position) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<ptrdiff_t>(at_),
                                         source_.begin() + static_cast<ptrdiff_t>(position), '\n'));
    if (position > at_) after_newline_ = source_[position - 1] == '\n';
    at_ = position;
  }

  size_t skip_space(size_t from) const {
    while (from < source_.size()) {
      const DecodedRune rune = decode_rune(source_.substr(from));
      if (!is_space(rune.code_point)) break;
      from += rune.bytes;
    }
    return from;
  }

  char sign_at(size_t position) const {
    const bool sign = position < source_.size() &&
                      (source_[position] == '-' || source_[position] == '+');
    return sign ? source_[position] : '\0';
  }

  std::optional<Opening> find_opening() const {
    for (size_t at = source_.find('{', at_); at != std::string_view::npos;
         at = source_.find('{', at + 1)) {
      if (at + 1 >= source_.size()) break;
      const char type = source_[at + 1];
      if (type != '{' && type != '%' && type != '#') continue;
      Opening opening{.begin = at, .end = at + 2, .sign = sign_at(at + 2), .type = type};
      if (opening.sign != 0) ++opening.end;
      if (type == '%') {
        if (const size_t raw_end = match_raw(opening.end)) {
          opening.type = 'r';
          opening.end = raw_end;
        }
      }
      return opening;
    }
    return std::nullopt;
  }

  // After `{%` and its sign: the end of a whole `raw %}` tag, 0 if it is another block.
  size_t match_raw(size_t from) const {
    size_t at = skip_space(from);
    if (source_.substr(at, 3) != "raw") return 0;
    at = skip_space(at + 3);
    if (source_.substr(at, 3) == "-%}") return skip_space(at + 3);
    return source_.substr(at, 2) == "%}" ? at + 2 : 0;
  }

  // The text up to a tag: `-` strips all whitespace before it; else lstrip_blocks strips the
  // indentation of a block or comment that starts its line.
  std::string_view trimmed(std::string_view text, char sign, bool strips_indentation) const {
    if (sign == '-') return strip(text, StripSide::kRight);
    if (sign == '+' || !strips_indentation) return text;
    const size_t newline = text.rfind('\n');
    const size_t line_start = newline == std::string_view::npos ? 0 : newline + 1;
    if (line_start == 0 && !after_newline_) return text;
    const std::string_view indentation = text.substr(line_start);
    return strip(indentation, StripSide::kRight).empty() ? text.substr(0, line_start) : text;
  }

  void add_text_before(const Opening& opening) {
    const std::string_view text = source_.substr(at_, opening.begin - at_);
    add_text(trimmed(text, opening.sign, opening.type != '{'));
  }

  absl::Status read_tag(const Opening& opening) {
    switch (opening.type) {
      case '#':
        return read_comment();
      case 'r':
        return read_raw();
      case '{':
        add(TokenKind::kVariableBegin, "{{");
        return read_code(TokenKind::kVariableEnd);
      default:
        add(TokenKind::kBlockBegin, "{%");
        return read_code(TokenKind::kBlockEnd);
    }
  }

  // If a closing tag made of `close` stands at `at`: where the text after it starts, else 0.
  // `-` eats whitespace, `+` keeps the newline that trim_blocks would eat.
  size_t match_close(size_t at, std::string_view close, bool trims_newline) const {
    const char sign = sign_at(at);
    const bool plus_allowed = trims_newline;
    const size_t tag = sign == 0 ? at : at + 1;
    if (source_.substr(tag, close.size()) != close || (sign == '+' && !plus_allowed)) return 0;
    const size_t end = tag + close.size();
    if (sign == '-') return skip_space(end);
    const bool newline = end < source_.size() && source_[end] == '\n';
    return sign == 0 && trims_newline && newline ? end + 1 : end;
  }

  absl::Status read_comment() {
    for (size_t at = at_; at < source_.size(); ++at) {
      if (const size_t end = match_close(at, "#}", true)) {
        move_to(end);
        return absl::OkStatus();
      }
    }
    return fail("a comment is not closed; expected '#}'");
  }

  absl::Status read_raw() {
    for (size_t at = source_.find("{%", at_); at != std::string_view::npos;
         at = source_.find("{%", at + 1)) {
      const char sign = sign_at(at + 2);
      size_t word = skip_space(at + (sign == 0 ? 2 : 3));
      if (source_.substr(word, 6) != "endraw") continue;
      word = skip_space(word + 6);
      if (const size_t end = match_close(word, "%}", true)) {
        add_text(trimmed(source_.substr(at_, at - at_), sign, true));
        move_to(end);
        return absl::OkStatus();
      }
    }
    return fail("a raw block is not closed; expected '{% endraw %}'");
  }

  absl::Status read_code(TokenKind closing) {
    const bool block = closing == TokenKind::kBlockEnd;
    std::string open_brackets;
    while (at_ < source_.size()) {
      if (open_brackets.empty()) {
        if (const size_t end = match_close(at_, block ? "%}" : "}}", block)) {
          add(closing, block ? "%}" : "}}");
          move_to(end);
          return absl::OkStatus();
        }
      }
      const size_t after_space = skip_space(at_);
      if (after_space != at_) {
        move_to(after_space);
        continue;
      }
      RETURN_IF_ERROR(read_token(open_brackets));
    }
    return absl::OkStatus();  // the parser says what is missing at the end
  }

  absl::Status read_token(std::string& open_brackets) {
    const std::string_view rest = source_.substr(at_);
    if (const size_t length = float_literal_length(rest); length > 0 && !after_dot()) {
      add(TokenKind::kFloat, rest.substr(0, length));
      tokens_.back().real = parse_float_literal(rest.substr(0, length));
      return advance(length);
    }
    if (const size_t length = integer_literal_length(rest); length > 0) {
      add(TokenKind::kInteger, rest.substr(0, length));
      const absl::StatusOr<int64_t> value = parse_integer_literal(rest.substr(0, length));
      if (!value.ok()) return fail(std::string(value.status().message()));
      tokens_.back().integer = *value;
      return advance(length);
    }
    if (const size_t length = name_length(rest); length > 0) {
      add(TokenKind::kName, rest.substr(0, length));
      return advance(length);
    }
    if (const size_t length = string_literal_length(rest); length > 0) {
      const absl::StatusOr<std::string> value = unescape_string(rest.substr(1, length - 2));
      if (!value.ok()) return fail(std::string(value.status().message()));
      add(TokenKind::kString, *value);
      return advance(length);
    }
    return read_operator(rest, open_brackets);
  }

  bool after_dot() const { return at_ > 0 && source_[at_ - 1] == '.'; }

  absl::Status advance(size_t bytes) {
    move_to(at_ + bytes);
    return absl::OkStatus();
  }

  static size_t name_length(std::string_view text) {
    size_t end = 0;
    while (end < text.size()) {
      const DecodedRune rune = decode_rune(text.substr(end));
      const bool digit = is_digit(rune.code_point);
      if (!is_word(rune.code_point) || (end == 0 && digit)) break;
      end += rune.bytes;
    }
    return end;
  }

  absl::Status read_operator(std::string_view rest, std::string& open_brackets) {
    const auto* found = std::find_if(kOperators.begin(), kOperators.end(),
                                     [&](std::string_view op) { return rest.starts_with(op); });
    if (found == kOperators.end()) {
      const std::string_view shown = rest.substr(0, decode_rune(rest).bytes);
      return fail(absl::StrCat("unexpected character '", std::string(shown), "'"));
    }
    const char op = found->front();
    if (op == '{' || op == '(' || op == '[') {
      open_brackets += op == '{' ? '}' : op == '(' ? ')' : ']';
    } else if (op == '}' || op == ')' || op == ']') {
      if (open_brackets.empty()) return fail(absl::StrCat("unexpected '", std::string(*found), "'"));
      if (open_brackets.back() != op) {
        return fail(absl::StrCat("unexpected '", std::string(*found), "', expected '",
                                 std::string(1, open_brackets.back()), "'"));
      }
      open_brackets.pop_back();
    }
    add(TokenKind::kOperator, *found);
    return advance(found->size());
  }

  const std::string_view source_;
  size_t at_ = 0;
  int line_ = 1;
  bool after_newline_ = true;  // what was consumed last ended a line; so does the start
  std::vector<Token> tokens_;
};

}  // namespace

absl::StatusOr<std::vector<Token>> tokenize(std::string_view source) {
  if (!is_valid_utf8(source)) return absl::InvalidArgumentError("line 1: it is not valid UTF-8");
  const std::string normalized = normalize_newlines(source);
  return Lexer(normalized).run();
}

}  // namespace conclave::coordinator::jinja
