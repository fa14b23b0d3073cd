#include "coordinator/chat_template/value_text.h"

#include <charconv>
#include <cmath>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/chat_template/loop_state.h"
#include "coordinator/chat_template/unicode.h"

namespace conclave::coordinator::jinja {
namespace {

// Python switches to exponents below 1e-4 and from 1e16.
constexpr int kLowestPlainExponent = -4;
constexpr int kFirstLargeExponent = 16;

void append_hex(std::string& out, char32_t value, int digits) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) out += kDigits[(value >> shift) & 15];
}

class ReprWriter {
 public:
  ReprWriter(Budget& budget, std::string& out) : budget_(budget), out_(out) {}

  absl::Status write(const Value& value, int depth) {
    if (depth > kMaxValueDepth) return absl::InvalidArgumentError("values nest too deeply");
    if (const Sequence* sequence = value.as_sequence()) return write_sequence(*sequence, depth);
    if (const Dict* dict = value.as_dict()) return write_dict(*dict, depth);
    if (const Namespace* space = value.as_namespace()) return write_namespace(*space, depth);
    if (value.is_markup()) return add(absl::StrCat("Markup(", string_repr(value.text()), ")"));
    return add(value.is_string() ? string_repr(value.text()) : scalar(value));
  }

  static std::string scalar(const Value& value) {
    if (value.is_none()) return "None";
    if (value.is_undefined()) return "Undefined";
    if (value.is_bool()) return value.truthy() ? "True" : "False";
    if (value.is_int()) return absl::StrCat(*value.integral());
    if (value.is_float()) return float_repr(value.number());
    if (const LoopState* loop = value.as_loop()) {
      // The length is what it would be without a condition that is still to be asked.
      const size_t length = static_cast<size_t>(loop->index0 + 1) + (loop->ahead ? 1 : 0) +
                            loop->items.size() - loop->next_item;
      return absl::StrCat("<LoopContext ", loop->index0 + 1, "/", length, ">");
    }
    if (const Cycler* cycler = value.as_cycler()) {
      return absl::StrCat("<jinja2.utils.", cycler->joiner ? "Joiner" : "Cycler", " object>");
    }
    const Callable& callable = *value.as_callable();
    const bool macro = callable.kind == Callable::Kind::kMacro;
    return macro ? absl::StrCat("<Macro ", string_repr(callable.name), ">")
                 : absl::StrCat("<function ", callable.name, ">");
  }

 private:
  absl::Status add(std::string_view text) {
    RETURN_IF_ERROR(budget_.charge_bytes(text.size()));
    out_ += text;
    return budget_.check_size(out_.size());
  }

  absl::Status write_items(const std::vector<Value>& items, int depth) {
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) RETURN_IF_ERROR(add(", "));
      RETURN_IF_ERROR(write(items[i], depth + 1));
    }
    return absl::OkStatus();
  }

  absl::Status write_sequence(const Sequence& sequence, int depth) {
    std::string_view open = "[";
    std::string_view close = "]";
    switch (sequence.kind) {
      case SequenceKind::kList:
        break;
      case SequenceKind::kTuple:
        open = "(";
        close = sequence.items.size() == 1 ? ",)" : ")";
        break;
      case SequenceKind::kRange:
        return add(sequence.range_text);
      case SequenceKind::kIterator:
        return add("<generator object>");
      case SequenceKind::kKeys:
        open = "dict_keys([";
        close = "])";
        break;
      case SequenceKind::kValues:
        open = "dict_values([";
        close = "])";
        break;
      case SequenceKind::kItems:
        open = "dict_items([";
        close = "])";
        break;
    }
    RETURN_IF_ERROR(add(open));
    RETURN_IF_ERROR(write_items(sequence.items, depth));
    return add(close);
  }

  absl::Status write_dict(const Dict& dict, int depth) {
    RETURN_IF_ERROR(add("{"));
    bool first = true;
    for (const auto& [key, value] : dict.items()) {
      if (!first) RETURN_IF_ERROR(add(", "));
      first = false;
      RETURN_IF_ERROR(write(key, depth + 1));
      RETURN_IF_ERROR(add(": "));
      RETURN_IF_ERROR(write(value, depth + 1));
    }
    return add("}");
  }

  absl::Status write_namespace(const Namespace& space, int depth) {
    RETURN_IF_ERROR(add("<Namespace {"));
    bool first = true;
    for (const auto& [key, value] : space.attributes) {
      if (!first) RETURN_IF_ERROR(add(", "));
      first = false;
      RETURN_IF_ERROR(add(string_repr(key)));
      RETURN_IF_ERROR(add(": "));
      RETURN_IF_ERROR(write(value, depth + 1));
    }
    return add("}>");
  }

  Budget& budget_;
  std::string& out_;
};

}  // namespace

std::string float_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[64];
  const auto end =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr;
  std::string_view shortest(buffer, static_cast<size_t>(end - buffer));
  std::string sign;
  if (shortest.front() == '-') {
    sign = "-";
    shortest.remove_prefix(1);
  }
  const size_t e = shortest.find('e');
  const int exponent = std::atoi(std::string(shortest.substr(e + 1)).c_str());
  std::string digits(1, shortest[0]);
  if (e > 2) digits += shortest.substr(2, e - 2);
  const int count = static_cast<int>(digits.size());
  if (exponent < kLowestPlainExponent || exponent >= kFirstLargeExponent) {
    std::string text = sign + digits.substr(0, 1);
    if (count > 1) text += "." + digits.substr(1);
    const int magnitude = std::abs(exponent);
    return absl::StrCat(text, "e", exponent < 0 ? "-" : "+", magnitude < 10 ? "0" : "", magnitude);
  }
  if (exponent < 0) return sign + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  if (count <= exponent + 1) {
    return sign + digits + std::string(static_cast<size_t>(exponent + 1 - count), '0') + ".0";
  }
  const auto point = static_cast<size_t>(exponent + 1);
  return sign + digits.substr(0, point) + "." + digits.substr(point);
}

std::string string_repr(std::string_view text) {
  const bool double_quoted =
      text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos;
  const char quote = double_quoted ? '"' : '\'';
  std::string out(1, quote);
  while (!text.empty()) {
    const DecodedRune rune = decode_rune(text);
    const char32_t c = rune.code_point;
    if (c == static_cast<char32_t>(quote) || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (is_printable(c)) {
      out += text.substr(0, rune.bytes);
    } else {
      out += c < 0x100 ? "\\x" : c < 0x10000 ? "\\u" : "\\U";
      append_hex(out, c, c < 0x100 ? 2 : c < 0x10000 ? 4 : 8);
    }
    text.remove_prefix(rune.bytes);
  }
  out += quote;
  return out;
}

std::string ascii_repr(std::string_view repr) {
  std::string out;
  while (!repr.empty()) {
    const DecodedRune rune = decode_rune(repr);
    const char32_t c = rune.code_point;
    if (c < 0x80) {
      out += repr.substr(0, rune.bytes);
    } else {
      out += c < 0x100 ? "\\x" : c < 0x10000 ? "\\u" : "\\U";
      append_hex(out, c, c < 0x100 ? 2 : c < 0x10000 ? 4 : 8);
    }
    repr.remove_prefix(rune.bytes);
  }
  return out;
}

absl::Status append_text(Budget& budget, const Value& value, std::string& out) {
  if (value.is_undefined()) return absl::OkStatus();
  if (!value.is_string()) return ReprWriter(budget, out).write(value, 0);
  out += value.text();
  RETURN_IF_ERROR(budget.charge_bytes(value.text().size()));
  return budget.check_size(out.size());
}

absl::StatusOr<std::string> to_text(Budget& budget, const Value& value) {
  std::string out;
  RETURN_IF_ERROR(append_text(budget, value, out));
  return out;
}

absl::StatusOr<std::string> to_repr(Budget& budget, const Value& value) {
  std::string out;
  RETURN_IF_ERROR(ReprWriter(budget, out).write(value, 0));
  return out;
}

}  // namespace conclave::coordinator::jinja
