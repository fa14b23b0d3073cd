#include "coordinator/chat_template/unicode.h"

#include <utf8proc.h>

#include <algorithm>

#include "coordinator/chat_template/unicode_tables.h"

namespace conclave::coordinator::jinja {
namespace {

constexpr char32_t kLastCodePoint = 0x10ffff;
constexpr char32_t kCapitalDottedI = 0x130;
constexpr char32_t kCapitalSigma = 0x3a3;

bool is_continuation(char byte) { return (static_cast<uint8_t>(byte) & 0xc0u) == 0x80u; }

utf8proc_category_t category(char32_t code_point) {
  if (code_point > kLastCodePoint) return UTF8PROC_CATEGORY_CN;
  return utf8proc_category(static_cast<utf8proc_int32_t>(code_point));
}

// Length of the well-formed sequence at the start of text, 0 if there is none.
size_t sequence_length(std::string_view text) {
  const auto lead = static_cast<uint8_t>(text[0]);
  size_t length = 0;
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead <= 0xdf) length = 2;
  if (lead >= 0xe0 && lead <= 0xef) length = 3;
  if (lead >= 0xf0 && lead <= 0xf4) length = 4;
  if (length == 0 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if (!is_continuation(text[i])) return 0;
  }
  const auto second = static_cast<uint8_t>(text[1]);
  const bool overlong = (lead == 0xe0 && second < 0xa0) || (lead == 0xf0 && second < 0x90);
  const bool surrogate = lead == 0xed && second >= 0xa0;
  const bool too_large = lead == 0xf4 && second >= 0x90;
  return overlong || surrogate || too_large ? 0 : length;
}

}  // namespace

DecodedRune decode_rune(std::string_view text) {
  const size_t length = sequence_length(text);
  const auto lead = static_cast<uint8_t>(text[0]);
  if (length <= 1) return {lead, 1};
  char32_t code_point = lead & (0xffu >> (length + 1));
  for (size_t i = 1; i < length; ++i) {
    code_point = (code_point << 6) | (static_cast<uint8_t>(text[i]) & 0x3fu);
  }
  return {code_point, length};
}

void append_rune(std::string& out, char32_t code_point) {
  const bool surrogate = code_point >= 0xd800 && code_point <= 0xdfff;
  if (surrogate || code_point > kLastCodePoint) code_point = 0xfffd;
  if (code_point < 0x80) {
    out += static_cast<char>(code_point);
  } else if (code_point < 0x800) {
    out += static_cast<char>(0xc0 | (code_point >> 6));
    out += static_cast<char>(0x80 | (code_point & 0x3f));
  } else if (code_point < 0x10000) {
    out += static_cast<char>(0xe0 | (code_point >> 12));
    out += static_cast<char>(0x80 | ((code_point >> 6) & 0x3f));
    out += static_cast<char>(0x80 | (code_point & 0x3f));
  } else {
    out += static_cast<char>(0xf0 | (code_point >> 18));
    out += static_cast<char>(0x80 | ((code_point >> 12) & 0x3f));
    out += static_cast<char>(0x80 | ((code_point >> 6) & 0x3f));
    out += static_cast<char>(0x80 | (code_point & 0x3f));
  }
}

bool is_valid_utf8(std::string_view text) {
  while (!text.empty()) {
    const size_t length = sequence_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

size_t rune_count(std::string_view text) {
  size_t count = 0;
  for (; !text.empty(); ++count) text.remove_prefix(decode_rune(text).bytes);
  return count;
}

std::vector<size_t> rune_offsets(std::string_view text) {
  std::vector<size_t> offsets;
  offsets.reserve(text.size() + 1);
  for (size_t at = 0; at < text.size(); at += decode_rune(text.substr(at)).bytes) {
    offsets.push_back(at);
  }
  offsets.push_back(text.size());
  return offsets;
}

bool is_space(char32_t c) {
  if (c < 0x80) return (c >= 9 && c <= 13) || (c >= 28 && c <= 32);
  return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
         c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

bool is_line_break(char32_t c) {
  return (c >= 10 && c <= 13) || (c >= 28 && c <= 30) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

bool is_printable(char32_t c) {
  if (c < 0x7f) return c >= 32;
  switch (category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return false;
    default:
      return true;
  }
}

bool is_alpha(char32_t c) {
  const utf8proc_category_t kind = category(c);
  return kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_LO;
}

bool is_decimal(char32_t c) { return category(c) == UTF8PROC_CATEGORY_ND; }
bool is_digit(char32_t c) { return is_decimal(c) || is_digit_beyond_decimal(c); }
bool is_numeric(char32_t c) { return is_digit(c) || is_numeric_beyond_digit(c); }
bool is_alnum(char32_t c) { return is_alpha(c) || is_numeric(c); }

bool is_word(char32_t c) {
  const utf8proc_category_t kind = category(c);
  return c == '_' || is_alpha(c) ||
         (kind >= UTF8PROC_CATEGORY_MN && kind <= UTF8PROC_CATEGORY_NO);
}

bool is_upper(char32_t c) {
  return category(c) == UTF8PROC_CATEGORY_LU || is_upper_beyond_category(c);
}
bool is_lower(char32_t c) {
  return category(c) == UTF8PROC_CATEGORY_LL || is_lower_beyond_category(c);
}
bool is_title(char32_t c) { return category(c) == UTF8PROC_CATEGORY_LT; }

bool is_identifier_start(char32_t c) {
  const bool letter = is_alpha(c) || category(c) == UTF8PROC_CATEGORY_NL || c == '_';
  return letter != starts_identifier_against_category(c);
}

bool is_identifier_part(char32_t c) {
  const utf8proc_category_t kind = category(c);
  const bool part = is_alpha(c) || kind == UTF8PROC_CATEGORY_NL || kind == UTF8PROC_CATEGORY_MN ||
                    kind == UTF8PROC_CATEGORY_MC || kind == UTF8PROC_CATEGORY_ND ||
                    kind == UTF8PROC_CATEGORY_PC;
  return part != continues_identifier_against_category(c);
}

namespace {

// Malformed bytes stay as they are.
template <typename Append>
std::string map_runes(std::string_view text, const Append& append) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const DecodedRune rune = decode_rune(text.substr(at));
    if (rune.bytes == 1 && rune.code_point >= 0x80) {
      out += text[at];
    } else {
      append(out, rune.code_point, at);
    }
    at += rune.bytes;
  }
  return out;
}

bool is_cased(char32_t c) { return is_upper(c) || is_lower(c) || is_title(c); }

// Characters that do not decide whether a sigma ends a word.
bool is_case_ignorable(char32_t c) {
  switch (category(c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
      return true;
    default:
      return c == '\'' || c == '.' || c == ':' || c == 0xb7 || c == 0x2018 || c == 0x2019 ||
             c == 0x2024;
  }
}

char32_t rune_before(std::string_view text) {
  size_t start = text.size() - 1;
  for (int back = 0; back < 3 && start > 0 && is_continuation(text[start]); ++back) --start;
  return decode_rune(text.substr(start)).code_point;
}

bool is_final_sigma(std::string_view text, size_t at) {
  std::string_view before = text.substr(0, at);
  while (!before.empty() && is_case_ignorable(rune_before(before))) {
    std::string rune;
    append_rune(rune, rune_before(before));
    before.remove_suffix(std::min(before.size(), rune.size()));
  }
  if (before.empty() || !is_cased(rune_before(before))) return false;
  std::string_view after = text.substr(at + decode_rune(text.substr(at)).bytes);
  while (!after.empty() && is_case_ignorable(decode_rune(after).code_point)) {
    after.remove_prefix(decode_rune(after).bytes);
  }
  return after.empty() || !is_cased(decode_rune(after).code_point);
}

}  // namespace

std::string to_upper(std::string_view text) {
  return map_runes(text, [](std::string& out, char32_t c, size_t) {
    if (const char* longer = long_upper(c)) {
      out += longer;
    } else {
      append_rune(out, static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c))));
    }
  });
}

std::string to_lower(std::string_view text) {
  return map_runes(text, [text](std::string& out, char32_t c, size_t at) {
    if (c == kCapitalDottedI) {
      out += "i\xcc\x87";
    } else if (c == kCapitalSigma) {
      out += is_final_sigma(text, at) ? "\xcf\x82" : "\xcf\x83";
    } else {
      append_rune(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
    }
  });
}

std::string fold_case(std::string_view text) {
  return map_runes(text, [](std::string& out, char32_t c, size_t) {
    utf8proc_int32_t folded[8];
    int last_boundclass = 0;
    const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), folded, 8,
                                               UTF8PROC_CASEFOLD, &last_boundclass);
    for (utf8proc_ssize_t i = 0; i < count; ++i) append_rune(out, static_cast<char32_t>(folded[i]));
  });
}

std::string title_of(char32_t c) {
  if (const char* longer = long_title(c)) return longer;
  std::string out;
  append_rune(out, static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(c))));
  return out;
}

std::string_view strip(std::string_view text, StripSide side, const std::string* chars) {
  std::vector<char32_t> set;
  if (chars != nullptr) {
    for (std::string_view rest = *chars; !rest.empty();) {
      const DecodedRune rune = decode_rune(rest);
      set.push_back(rune.code_point);
      rest.remove_prefix(rune.bytes);
    }
  }
  const auto removable = [&](char32_t c) {
    return chars == nullptr ? is_space(c) : std::find(set.begin(), set.end(), c) != set.end();
  };
  while (side != StripSide::kRight && !text.empty()) {
    const DecodedRune rune = decode_rune(text);
    if (!removable(rune.code_point)) break;
    text.remove_prefix(rune.bytes);
  }
  while (side != StripSide::kLeft && !text.empty()) {
    size_t start = text.size() - 1;
    for (int back = 0; back < 3 && start > 0 && is_continuation(text[start]); ++back) --start;
    if (decode_rune(text.substr(start)).bytes != text.size() - start) start = text.size() - 1;
    if (!removable(decode_rune(text.substr(start)).code_point)) break;
    text.remove_suffix(text.size() - start);
  }
  return text;
}

std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> lines;
  size_t start = 0;
  for (size_t at = 0; at < text.size();) {
    const DecodedRune rune = decode_rune(text.substr(at));
    size_t next = at + rune.bytes;
    if (is_line_break(rune.code_point)) {
      if (rune.code_point == '\r' && next < text.size() && text[next] == '\n') ++next;
      lines.push_back(text.substr(start, (keep_ends ? next : at) - start));
      start = next;
    }
    at = next;
  }
  if (start < text.size()) lines.push_back(text.substr(start));
  return lines;
}

}  // namespace conclave::coordinator::jinja
