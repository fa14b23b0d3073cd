#include "coordinator/tokenizer/onig_properties.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/tokenizer/newer_unicode.h"

namespace conclave::coordinator {
namespace {

// Properties that PCRE2 knows by these names, as Oniguruma compares them: without case, blanks, '-'
// and '_'. Other names are scripts.
bool is_plain_property(std::string_view folded) {
  static constexpr std::array<std::string_view, 57> kNames = {// clang-format off
      "any", "l", "lu", "ll", "lt", "lm", "lo", "l&", "m", "mn", "mc", "me", "n", "nd", "nl",
      "no", "p", "pc", "pd", "ps", "pe", "pi", "pf", "po", "s", "sm", "sc", "sk", "so", "z",
      "zs", "zl", "zp", "c", "cc", "cf", "cn", "co", "cs", "alphabetic", "whitespace",
      "uppercase", "lowercase", "math", "dash", "ideographic", "cased", "caseignorable",
      "emoji", "emojipresentation", "emojimodifier", "extendedpictographic", "idstart",
      "idcontinue", "xidstart", "xidcontinue", "hexdigit"};  // clang-format on
  return std::find(kNames.begin(), kNames.end(), folded) != kNames.end();
}

// The short names of general categories that Oniguruma also takes in full.
std::optional<std::string_view> category_of(std::string_view folded) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 30> kNames = {{
      {"letter", "L"},
      {"uppercaseletter", "Lu"},
      {"lowercaseletter", "Ll"},
      {"titlecaseletter", "Lt"},
      {"modifierletter", "Lm"},
      {"otherletter", "Lo"},
      {"mark", "M"},
      {"nonspacingmark", "Mn"},
      {"spacingmark", "Mc"},
      {"enclosingmark", "Me"},
      {"number", "N"},
      {"decimalnumber", "Nd"},
      {"letternumber", "Nl"},
      {"othernumber", "No"},
      {"punctuation", "P"},
      {"connectorpunctuation", "Pc"},
      {"dashpunctuation", "Pd"},
      {"openpunctuation", "Ps"},
      {"closepunctuation", "Pe"},
      {"otherpunctuation", "Po"},
      {"symbol", "S"},
      {"mathsymbol", "Sm"},
      {"currencysymbol", "Sc"},
      {"modifiersymbol", "Sk"},
      {"othersymbol", "So"},
      {"separator", "Z"},
      {"spaceseparator", "Zs"},
      {"other", "C"},
      {"control", "Cc"},
      {"punct", "P"},
  }};
  for (const auto& [name, category] : kNames) {
    if (name == folded) return category;
  }
  return std::nullopt;
}

}  // namespace

std::string posix_word_items() {
  return absl::StrCat("\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}", newer_class_items("L"),
                      newer_class_items("M"), newer_class_items("Nd"));
}
std::string word_items() {
  return absl::StrCat(posix_word_items(), "\\x{B2}\\x{B3}\\x{B9}\\x{BC}-\\x{BE}");
}

std::optional<std::string> posix_class_items(std::string_view name) {
  if (name == "alpha") return absl::StrCat("\\p{Alphabetic}", newer_class_items("L"));
  if (name == "alnum") {
    return absl::StrCat("\\p{Alphabetic}\\p{Nd}", newer_class_items("L"), newer_class_items("Nd"));
  }
  if (name == "digit") return absl::StrCat("\\p{Nd}", newer_class_items("Nd"));
  if (name == "space") return "\\p{White_Space}";
  if (name == "blank") return "\\p{Zs}\\t";
  if (name == "upper") return absl::StrCat("\\p{Uppercase}", newer_class_items("Lu"));
  if (name == "lower") return absl::StrCat("\\p{Lowercase}", newer_class_items("Ll"));
  if (name == "cntrl") return "\\p{Cc}";
  if (name == "xdigit") return "0-9A-Fa-f";
  if (name == "ascii") return "\\x{0}-\\x{7F}";
  return std::nullopt;
}

std::string property_items(std::string_view name) {
  std::string folded;
  for (const char n : name) {
    if (n == ' ' || n == '-' || n == '_') continue;
    folded += static_cast<char>(std::tolower(static_cast<unsigned char>(n)));
  }
  if (folded == "word") return word_items();
  if (std::optional<std::string> items = posix_class_items(folded)) return *std::move(items);
  std::string category(category_of(folded).value_or(""));
  if (category.empty() && is_plain_property(folded) && folded.size() <= 2) {
    category = folded;
    category[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(category[0])));
  }
  if (!category.empty()) return absl::StrCat("\\p{", category, "}", newer_class_items(category));
  if (folded == "alphabetic") return *posix_class_items("alpha");
  if (folded == "han") return absl::StrCat("\\p{sc:Han}", newer_han_items());
  // PCRE2 takes a bare script name for script extensions, Oniguruma for the script alone.
  const bool bare = is_plain_property(folded) || name.find_first_of("=:") != name.npos;
  return absl::StrCat("\\p{", bare ? "" : "sc:", std::string(name), "}");
}

}  // namespace conclave::coordinator
