#!/usr/bin/env python3
"""Prints coordinator/chat_template/unicode_tables.cc: what Python's str knows of characters and utf8proc does not tell.

Every table holds what does not follow from a character's category or its simple case mappings.
"""
import sys
import unicodedata

LAST = sys.maxunicode


def ranges(belongs):
    found, start = [], None
    for code in range(LAST + 2):
        inside = code <= LAST and not 0xD800 <= code <= 0xDFFF and belongs(chr(code))
        if inside and start is None:
            start = code
        elif not inside and start is not None:
            found.append((start, code - 1))
            start = None
    return found


def print_ranges(name, belongs):
    found = ranges(belongs)
    print(f"constexpr Range {name}[] = {{")
    row = "   "
    for low, high in found:
        piece = f" {{{low:#x}, {high:#x}}},"
        if len(row + piece) > 98:
            print(row)
            row = "   "
        row += piece
    print(f"{row}\n}};")


def print_cases(name, change):
    print(f"constexpr CaseMapping {name}[] = {{")
    for code in range(LAST + 1):
        if 0xD800 <= code <= 0xDFFF:
            continue
        changed = change(chr(code))
        if len(changed) > 1:
            text = "".join(f"\\x{byte:02x}" for byte in changed.encode())
            print(f'    {{{code:#x}, "{text}"}},')
    print("};")


def main():
    category = unicodedata.category
    print(f"""// Written by scripts/make_unicode_tables.py from Unicode {unicodedata.unidata_version}.
#include "coordinator/chat_template/unicode_tables.h"

#include <algorithm>
#include <iterator>

namespace conclave::coordinator::jinja {{
namespace {{

struct Range {{
  char32_t first;
  char32_t last;
}};
struct CaseMapping {{
  char32_t from;
  const char* to;
}};
""")
    print_ranges("kDigits", lambda c: c.isdigit() and category(c) != "Nd")
    print_ranges("kNumerics", lambda c: c.isnumeric() and not c.isdigit())
    print_ranges("kOtherLower", lambda c: c.islower() and category(c) != "Ll")
    print_ranges("kOtherUpper", lambda c: c.isupper() and category(c) != "Lu")
    print_ranges("kOtherIdentifierStart", lambda c: c.isidentifier() != (category(c) in ("Lu", "Ll", "Lt", "Lm", "Lo", "Nl") or c == "_"))
    continues = ("Lu", "Ll", "Lt", "Lm", "Lo", "Nl", "Mn", "Mc", "Nd", "Pc")
    print_ranges("kOtherIdentifierPart", lambda c: ("a" + c).isidentifier() != (category(c) in continues))
    print_cases("kLongUpper", str.upper)
    print_cases("kLongTitle", str.title)
    print("""
template <size_t count>
bool holds(const Range (&table)[count], char32_t code_point) {
  const Range* found = std::upper_bound(std::begin(table), std::end(table), code_point,
                                        [](char32_t value, const Range& range) { return value < range.first; });
  return found != std::begin(table) && code_point <= std::prev(found)->last;
}

template <size_t count>
const char* mapped(const CaseMapping (&table)[count], char32_t code_point) {
  const CaseMapping* found = std::lower_bound(std::begin(table), std::end(table), code_point,
                                              [](const CaseMapping& entry, char32_t value) { return entry.from < value; });
  return found != std::end(table) && found->from == code_point ? found->to : nullptr;
}

}  // namespace

bool is_digit_beyond_decimal(char32_t code_point) { return holds(kDigits, code_point); }
bool is_numeric_beyond_digit(char32_t code_point) { return holds(kNumerics, code_point); }
bool is_lower_beyond_category(char32_t code_point) { return holds(kOtherLower, code_point); }
bool is_upper_beyond_category(char32_t code_point) { return holds(kOtherUpper, code_point); }
bool starts_identifier_against_category(char32_t code_point) {
  return holds(kOtherIdentifierStart, code_point);
}
bool continues_identifier_against_category(char32_t code_point) {
  return holds(kOtherIdentifierPart, code_point);
}
const char* long_upper(char32_t code_point) { return mapped(kLongUpper, code_point); }
const char* long_title(char32_t code_point) { return mapped(kLongTitle, code_point); }

}  // namespace conclave::coordinator::jinja""")


if __name__ == "__main__":
    main()
