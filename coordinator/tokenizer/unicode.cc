#include "coordinator/tokenizer/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <tuple>
#include <vector>

#include "coordinator/tokenizer/newer_unicode.h"

namespace conclave::coordinator {
namespace {

std::string_view category(char32_t c) {
  const auto code = static_cast<utf8proc_int32_t>(c);
  if (utf8proc_category(code) != UTF8PROC_CATEGORY_CN) return utf8proc_category_string(code);
  const std::string_view newer = newer_category(c);
  return newer.empty() ? "Cn" : newer;
}
char major_category(char32_t c) { return category(c)[0]; }

// Letters by Other_Alphabetic whose general category says symbol: circled, squared, parenthesised.
bool is_alphabetic_symbol(char32_t c) {
  return (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
         (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
}

int combining_class(utf8proc_int32_t c) { return utf8proc_get_property(c)->combining_class; }

// Canonical order: marks between two starters sorted by class, equal ones in their order.
// utf8proc's own ordering is quadratic in such a run, which a hostile prompt could use.
void sort_marks(std::vector<utf8proc_int32_t>& chars) {
  struct Mark {
    int combining_class;
    size_t position;
    utf8proc_int32_t c;
  };
  std::vector<Mark> run;
  for (size_t i = 0; i < chars.size(); ++i) {
    run.clear();
    const size_t begin = i;
    for (; i < chars.size() && combining_class(chars[i]) != 0; ++i) {
      run.push_back({combining_class(chars[i]), i, chars[i]});
    }
    if (run.size() < 2) continue;
    std::sort(run.begin(), run.end(), [](const Mark& a, const Mark& b) {
      return std::tie(a.combining_class, a.position) < std::tie(b.combining_class, b.position);
    });
    for (size_t k = 0; k < run.size(); ++k) chars[begin + k] = run[k].c;
  }
}

std::vector<utf8proc_int32_t> decompose(std::string_view text, bool compatible) {
  const int options = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (compatible ? UTF8PROC_COMPAT : 0);
  std::vector<utf8proc_int32_t> chars;
  chars.reserve(text.size());
  std::array<utf8proc_int32_t, 64> buffer{};  // the longest decomposition has 18 characters
  int boundary_class = 0;
  for (size_t at = 0; at < text.size();) {
    const auto c = static_cast<utf8proc_int32_t>(next_char(text, at));
    const utf8proc_ssize_t count = utf8proc_decompose_char(
        c, buffer.data(), buffer.size(), static_cast<utf8proc_option_t>(options), &boundary_class);
    if (count < 0 || count > static_cast<utf8proc_ssize_t>(buffer.size())) {
      chars.push_back(c);
    } else {
      chars.insert(chars.end(), buffer.begin(), buffer.begin() + count);
    }
  }
  sort_marks(chars);
  return chars;
}

// Below these code points a text is its own normal form.
char32_t first_unstable(NormalizationForm form) {
  return form == NormalizationForm::kNfc ? 0x300 : 0x80;
}

}  // namespace

size_t char_bytes(char first_byte) {
  const auto b = static_cast<unsigned char>(first_byte);
  if (b < 0x80) return 1;
  if (b < 0xE0) return 2;
  return b < 0xF0 ? 3 : 4;
}

char32_t next_char(std::string_view text, size_t& at) {
  const size_t length = std::min(char_bytes(text[at]), text.size() - at);
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[at + i]); };
  char32_t c = byte(0);
  if (length > 1) c &= 0x7Fu >> length;
  for (size_t i = 1; i < length; ++i) c = (c << 6) | (byte(i) & 0x3Fu);
  at += length;
  return c;
}

void append_char(char32_t c, std::string& out) {
  if (c < 0x80) {
    out.push_back(static_cast<char>(c));
  } else if (c < 0x800) {
    out.push_back(static_cast<char>(0xC0 | (c >> 6)));
    out.push_back(static_cast<char>(0x80 | (c & 0x3F)));
  } else if (c < 0x10000) {
    out.push_back(static_cast<char>(0xE0 | (c >> 12)));
    out.push_back(static_cast<char>(0x80 | ((c >> 6) & 0x3F)));
    out.push_back(static_cast<char>(0x80 | (c & 0x3F)));
  } else {
    out.push_back(static_cast<char>(0xF0 | (c >> 18)));
    out.push_back(static_cast<char>(0x80 | ((c >> 12) & 0x3F)));
    out.push_back(static_cast<char>(0x80 | ((c >> 6) & 0x3F)));
    out.push_back(static_cast<char>(0x80 | (c & 0x3F)));
  }
}

Utf8Prefix classify_utf8(std::string_view bytes) {
  using Kind = Utf8Prefix::Kind;
  const auto first = static_cast<unsigned char>(bytes[0]);
  if (first < 0x80) return {Kind::kCharacter, 1};
  if (first < 0xC2 || first > 0xF4) return {Kind::kInvalid, 1};
  const size_t length = char_bytes(bytes[0]);
  // The second byte's range excludes overlong forms, surrogates and what lies above U+10FFFF.
  unsigned char low = 0x80;
  unsigned char high = 0xBF;
  if (first == 0xE0) low = 0xA0;
  if (first == 0xED) high = 0x9F;
  if (first == 0xF0) low = 0x90;
  if (first == 0xF4) high = 0x8F;
  for (size_t i = 1; i < length; ++i) {
    if (i == bytes.size()) return {Kind::kCut, i};
    const auto b = static_cast<unsigned char>(bytes[i]);
    if (b < low || b > high) return {Kind::kInvalid, i};
    low = 0x80;
    high = 0xBF;
  }
  return {Kind::kCharacter, length};
}

bool is_valid_utf8(std::string_view bytes) {
  for (size_t at = 0; at < bytes.size();) {
    const Utf8Prefix prefix = classify_utf8(bytes.substr(at));
    if (prefix.kind != Utf8Prefix::Kind::kCharacter) return false;
    at += prefix.length;
  }
  return true;
}

std::string make_valid_utf8(std::string_view bytes) {
  if (is_valid_utf8(bytes)) return std::string(bytes);
  std::string out;
  out.reserve(bytes.size());
  for (size_t at = 0; at < bytes.size();) {
    const Utf8Prefix prefix = classify_utf8(bytes.substr(at));
    const bool good = prefix.kind == Utf8Prefix::Kind::kCharacter;
    out += good ? bytes.substr(at, prefix.length) : kReplacementCharacter;
    at += prefix.length;
  }
  return out;
}

bool is_whitespace(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

bool is_numeric(char32_t c) {
  if (c < 0x80) return c >= '0' && c <= '9';
  return major_category(c) == 'N';
}

bool is_word_char(char32_t c) {
  const std::string_view k = category(c);
  return k[0] == 'L' || k[0] == 'M' || k == "Nd" || k == "Nl" || k == "Pc" || c == 0x200C ||
         c == 0x200D || is_alphabetic_symbol(c);
}

bool is_punctuation(char32_t c) {
  if (c < 0x80) {
    return (c >= 0x21 && c <= 0x2F) || (c >= 0x3A && c <= 0x40) || (c >= 0x5B && c <= 0x60) ||
           (c >= 0x7B && c <= 0x7E);
  }
  return major_category(c) == 'P';
}

bool is_mark(char32_t c) { return major_category(c) == 'M'; }

void append_lowercase(char32_t c, std::string& out) {
  if (c == 0x130) {  // the only character whose lower case, without context, is two characters
    out += "i\xCC\x87";
    return;
  }
  append_char(static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))), out);
}

std::string unicode_normalize(std::string_view text, NormalizationForm form) {
  const char32_t unstable = first_unstable(form);
  bool already = true;
  for (size_t at = 0; at < text.size() && already;) already = next_char(text, at) < unstable;
  if (already) return std::string(text);

  const bool compatible = form == NormalizationForm::kNfkc || form == NormalizationForm::kNfkd;
  const bool compose = form == NormalizationForm::kNfc || form == NormalizationForm::kNfkc;
  std::vector<utf8proc_int32_t> chars = decompose(text, compatible);
  if (compose) {
    const utf8proc_ssize_t count = utf8proc_normalize_utf32(
        chars.data(), static_cast<utf8proc_ssize_t>(chars.size()),
        static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
    if (count >= 0) chars.resize(static_cast<size_t>(count));
  }
  std::string out;
  out.reserve(text.size());
  for (const utf8proc_int32_t c : chars) append_char(static_cast<char32_t>(c), out);
  return out;
}

}  // namespace conclave::coordinator
