#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/chat_template/markup.h"
#include "coordinator/chat_template/methods.h"
#include "coordinator/chat_template/string_format.h"
#include "coordinator/chat_template/string_operations.h"
#include "coordinator/chat_template/subscript.h"
#include "coordinator/chat_template/unicode.h"

namespace conclave::coordinator::jinja {
namespace {

absl::StatusOr<std::string> required_text(std::string_view callee, const Value& value) {
  if (value.is_string()) return value.text();
  return absl::InvalidArgumentError(absl::StrCat(
      std::string(callee), "(): a string is required, not '", value.type_name(), "'"));
}

template <StripSide side>
absl::StatusOr<Value> strip_method(Budget&, const Value& self, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound, BoundArguments::bind("strip", arguments, {""}));
  ASSIGN_OR_RETURN(const std::optional<std::string> chars, bound.text(0));
  return Value::string(strip(self.text(), side, chars ? &*chars : nullptr));
}

// Words between runs of whitespace; a limit leaves the rest as one piece, its far blanks included.
std::vector<std::string_view> split_words(std::string_view text, int64_t limit) {
  std::vector<std::string_view> pieces;
  for (text = strip(text, StripSide::kLeft); !text.empty();
       text = strip(text, StripSide::kLeft)) {
    if (limit >= 0 && static_cast<int64_t>(pieces.size()) == limit) {
      pieces.push_back(text);
      break;
    }
    size_t end = 0;
    while (end < text.size()) {
      const DecodedRune rune = decode_rune(text.substr(end));
      if (is_space(rune.code_point)) break;
      end += rune.bytes;
    }
    pieces.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
  return pieces;
}

std::vector<std::string_view> split_words_from_right(std::string_view text, int64_t limit) {
  std::vector<std::string_view> words = split_words(text, -1);
  if (limit < 0 || static_cast<int64_t>(words.size()) <= limit) return words;
  const size_t merged = words.size() - static_cast<size_t>(limit);
  if (merged == 0) return words;
  const std::string_view last = words[merged - 1];
  const std::string_view head(text.data(),
                              static_cast<size_t>(last.data() + last.size() - text.data()));
  std::vector<std::string_view> pieces = {head};
  pieces.insert(pieces.end(), words.begin() + static_cast<ptrdiff_t>(merged), words.end());
  return pieces;
}

std::vector<std::string_view> split_at(std::string_view text, std::string_view separator,
                                       int64_t limit) {
  std::vector<std::string_view> pieces;
  while (limit < 0 || static_cast<int64_t>(pieces.size()) < limit) {
    const size_t found = text.find(separator);
    if (found == std::string_view::npos) break;
    pieces.push_back(text.substr(0, found));
    text.remove_prefix(found + separator.size());
  }
  pieces.push_back(text);
  return pieces;
}

std::vector<std::string_view> split_at_from_right(std::string_view text,
                                                  std::string_view separator, int64_t limit) {
  std::vector<std::string_view> pieces;
  while (limit < 0 || static_cast<int64_t>(pieces.size()) < limit) {
    const size_t found = text.rfind(separator);
    if (found == std::string_view::npos) break;
    pieces.push_back(text.substr(found + separator.size()));
    text = text.substr(0, found);
  }
  pieces.push_back(text);
  std::reverse(pieces.begin(), pieces.end());
  return pieces;
}

template <bool from_right>
absl::StatusOr<Value> split_method(Budget& budget, const Value& self,
                                   const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound,
                   BoundArguments::bind("split", arguments, {"sep", "maxsplit"}));
  ASSIGN_OR_RETURN(const std::optional<std::string> separator, bound.text(0));
  ASSIGN_OR_RETURN(const int64_t limit, bound.integer(1, -1));
  std::vector<std::string_view> pieces;
  if (!separator) {
    pieces = from_right ? split_words_from_right(self.text(), limit)
                        : split_words(self.text(), limit);
  } else if (separator->empty()) {
    return absl::InvalidArgumentError("empty separator");
  } else {
    pieces = from_right ? split_at_from_right(self.text(), *separator, limit)
                        : split_at(self.text(), *separator, limit);
  }
  RETURN_IF_ERROR(budget.charge_bytes(pieces.size() * kTextValueBytes + self.text().size()));
  return make_string_list(pieces);
}

absl::StatusOr<Value> splitlines_method(Budget& budget, const Value& self,
                                        const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound,
                   BoundArguments::bind("splitlines", arguments, {"keepends"}));
  ASSIGN_OR_RETURN(const int64_t keep_ends, bound.integer(0, 0));
  const auto lines = split_lines(self.text(), keep_ends != 0);
  RETURN_IF_ERROR(budget.charge_bytes(lines.size() * kTextValueBytes + self.text().size()));
  return make_string_list(lines);
}

template <bool from_right>
absl::StatusOr<Value> partition_method(Budget&, const Value& self, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound,
                   BoundArguments::bind("partition", arguments, {""}, 1));
  ASSIGN_OR_RETURN(const std::string separator, required_text("partition", *bound.get(0)));
  if (separator.empty()) return absl::InvalidArgumentError("empty separator");
  const std::string& text = self.text();
  const size_t found = from_right ? text.rfind(separator) : text.find(separator);
  std::vector<Value> parts(3, Value::string(""));
  if (found == std::string::npos) {
    parts[from_right ? 2 : 0] = self;
  } else {
    parts[0] = Value::string(text.substr(0, found));
    parts[1] = Value::string(separator);
    parts[2] = Value::string(text.substr(found + separator.size()));
  }
  return make_sequence(SequenceKind::kTuple, std::move(parts));
}

bool has_affix(std::string_view text, std::string_view affix, bool at_end) {
  return at_end ? text.ends_with(affix) : text.starts_with(affix);
}

// The part of self between the code point indexes of parameters 1 and 2; nothing if start is past it.
absl::StatusOr<std::optional<std::pair<size_t, size_t>>> byte_range(const std::string& text,
                                                                    const BoundArguments& bound) {
  using Range = std::optional<std::pair<size_t, size_t>>;
  if (bound.get(1) == nullptr && bound.get(2) == nullptr) return Range({0, text.size()});
  const std::vector<size_t> offsets = rune_offsets(text);
  const auto length = static_cast<int64_t>(offsets.size()) - 1;
  ASSIGN_OR_RETURN(int64_t start, bound.integer(1, 0));
  ASSIGN_OR_RETURN(int64_t end, bound.integer(2, length));
  if (start < 0) start = std::max<int64_t>(start + length, 0);
  if (end < 0) end = std::max<int64_t>(end + length, 0);
  end = std::min(end, length);
  if (start > end) return Range();
  return Range({offsets[static_cast<size_t>(start)], offsets[static_cast<size_t>(end)]});
}

template <bool at_end>
absl::StatusOr<Value> affix_method(Budget&, const Value& self, const Arguments& arguments) {
  const char* name = at_end ? "endswith" : "startswith";
  ASSIGN_OR_RETURN(const BoundArguments bound,
                   BoundArguments::bind(name, arguments, {"", "", ""}, 1));
  ASSIGN_OR_RETURN(const auto range, byte_range(self.text(), bound));
  const Value& affix = *bound.get(0);
  std::vector<Value> candidates = {affix};
  const Sequence* tuple = affix.as_sequence();
  if (tuple != nullptr && tuple->kind == SequenceKind::kTuple) candidates = tuple->items;
  bool found = false;
  for (const Value& candidate : candidates) {
    ASSIGN_OR_RETURN(const std::string text, required_text(name, candidate));
    if (!range) continue;
    const auto part =
        std::string_view(self.text()).substr(range->first, range->second - range->first);
    found = found || has_affix(part, text, at_end);
  }
  return Value::boolean(found);
}

template <bool at_end>
absl::StatusOr<Value> remove_affix_method(Budget&, const Value& self,
                                          const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound,
                   BoundArguments::bind("removeprefix", arguments, {""}, 1));
  ASSIGN_OR_RETURN(const std::string affix, required_text("removeprefix", *bound.get(0)));
  std::string_view text = self.text();
  if (!has_affix(text, affix, at_end)) return self;
  if (at_end) {
    text.remove_suffix(affix.size());
  } else {
    text.remove_prefix(affix.size());
  }
  return Value::string(text);
}

absl::StatusOr<Value> replace_method(Budget& budget, const Value& self,
                                     const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound,
                   BoundArguments::bind("replace", arguments, {"", "", "count"}, 2));
  ASSIGN_OR_RETURN(const std::string from, required_text("replace", *bound.get(0)));
  ASSIGN_OR_RETURN(const std::string to, required_text("replace", *bound.get(1)));
  ASSIGN_OR_RETURN(const int64_t count, bound.integer(2, -1));
  ASSIGN_OR_RETURN(std::string out, replace_text(budget, self.text(), from, to, count));
  return Value::string(std::move(out));
}

template <bool from_right, bool must_exist>
absl::StatusOr<Value> find_method_of_text(Budget&, const Value& self,
                                          const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound,
                   BoundArguments::bind("find", arguments, {"", "", ""}, 1));
  ASSIGN_OR_RETURN(const std::string needle, required_text("find", *bound.get(0)));
  ASSIGN_OR_RETURN(const auto range, byte_range(self.text(), bound));
  size_t found = std::string::npos;
  if (range) {
    const auto part =
        std::string_view(self.text()).substr(range->first, range->second - range->first);
    found = from_right ? part.rfind(needle) : part.find(needle);
  }
  if (found == std::string::npos) {
    if (must_exist) return absl::InvalidArgumentError("substring not found");
    return Value::integer(-1);
  }
  const auto before = std::string_view(self.text()).substr(0, range->first + found);
  return Value::integer(static_cast<int64_t>(rune_count(before)));
}

absl::StatusOr<Value> count_method(Budget&, const Value& self, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound,
                   BoundArguments::bind("count", arguments, {"", "", ""}, 1));
  ASSIGN_OR_RETURN(const std::string needle, required_text("count", *bound.get(0)));
  ASSIGN_OR_RETURN(const auto range, byte_range(self.text(), bound));
  if (!range) return Value::integer(0);
  auto part = std::string_view(self.text()).substr(range->first, range->second - range->first);
  if (needle.empty()) return Value::integer(static_cast<int64_t>(rune_count(part)) + 1);
  int64_t count = 0;
  for (size_t at = part.find(needle); at != std::string_view::npos;
       at = part.find(needle, at + needle.size())) {
    ++count;
  }
  return Value::integer(count);
}

absl::StatusOr<Value> join_method(Budget& budget, const Value& self, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound, BoundArguments::bind("join", arguments, {""}, 1));
  ASSIGN_OR_RETURN(const std::vector<Value> items, elements_of(budget, *bound.get(0)));
  for (size_t i = 0; i < items.size(); ++i) {
    if (items[i].is_string()) continue;
    return absl::InvalidArgumentError(absl::StrCat("sequence item ", i,
                                                   ": expected str instance, ",
                                                   items[i].type_name(), " found"));
  }
  ASSIGN_OR_RETURN(std::string out, join_texts(budget, self.text(), items));
  return Value::string(std::move(out));
}

std::string title_text(std::string_view text) {
  const std::string lower = to_lower(text);  // where the final sigma is decided
  std::string out;
  bool inside_word = false;
  for (std::string_view rest = text, low = lower; !rest.empty();) {
    const DecodedRune rune = decode_rune(rest);
    const std::string_view letter = rest.substr(0, rune.bytes);
    const size_t low_bytes = rune.code_point == 0x130 ? 3
                             : low.empty()            ? 0
                                                      : decode_rune(low).bytes;
    const bool malformed = rune.bytes == 1 && rune.code_point >= 0x80;
    out += malformed     ? std::string(letter)
           : inside_word ? std::string(low.substr(0, low_bytes))
                         : title_of(rune.code_point);
    inside_word =
        is_upper(rune.code_point) || is_lower(rune.code_point) || is_title(rune.code_point);
    rest.remove_prefix(rune.bytes);
    low.remove_prefix(low_bytes);
  }
  return out;
}

std::string swap_case(std::string_view text) {
  std::string out;
  const std::string lower = to_lower(text);
  for (std::string_view rest = text, low = lower; !rest.empty();) {
    const DecodedRune rune = decode_rune(rest);
    const std::string_view letter = rest.substr(0, rune.bytes);
    const size_t low_bytes = rune.code_point == 0x130 ? 3 : decode_rune(low).bytes;
    out += is_upper(rune.code_point)   ? std::string(low.substr(0, low_bytes))
           : is_lower(rune.code_point) ? to_upper(letter)
                                       : std::string(letter);
    rest.remove_prefix(rune.bytes);
    low.remove_prefix(low_bytes);
  }
  return out;
}

absl::StatusOr<Value> expandtabs_method(Budget& budget, const Value& self,
                                        const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound,
                   BoundArguments::bind("expandtabs", arguments, {"tabsize"}));
  ASSIGN_OR_RETURN(const int64_t size, bound.integer(0, 8));
  std::string out;
  int64_t column = 0;
  for (std::string_view rest = self.text(); !rest.empty();) {
    const DecodedRune rune = decode_rune(rest);
    if (rune.code_point == '\t') {
      const int64_t blanks = size > 0 ? size - column % size : 0;
      ASSIGN_OR_RETURN(const std::string padding, center_text(budget, "", blanks, " "));
      out += padding;
      column += blanks;
    } else {
      out += rest.substr(0, rune.bytes);
      ++column;
    }
    if (rune.code_point == '\n' || rune.code_point == '\r') column = 0;
    rest.remove_prefix(rune.bytes);
    RETURN_IF_ERROR(budget.check_size(out.size()));
  }
  RETURN_IF_ERROR(budget.charge_bytes(out.size()));
  return Value::string(std::move(out));
}

// Characters by their code points: to a code point, a text or nothing.
absl::StatusOr<Value> translate_method(Budget& budget, const Value& self,
                                       const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound,
                   BoundArguments::bind("translate", arguments, {""}, 1));
  const Value& table = *bound.get(0);
  const bool has_items =
      table.is_string() || table.as_dict() != nullptr || table.as_sequence() != nullptr;
  if (!has_items && !self.text().empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", table.type_name(), "' object is not subscriptable"));
  }
  std::string out;
  for (std::string_view rest = self.text(); !rest.empty();) {
    const DecodedRune rune = decode_rune(rest);
    ASSIGN_OR_RETURN(
        const Value found,
        get_item(budget, table, Value::integer(static_cast<int64_t>(rune.code_point))));
    const Value* to = &found;
    if (to->is_undefined()) {
      out += rest.substr(0, rune.bytes);
    } else if (to->is_string()) {
      out += to->text();
    } else if (const std::optional<int64_t> code = to->integral();
               code && *code >= 0 && *code <= 0x10ffff) {
      append_rune(out, static_cast<char32_t>(*code));
    } else if (!to->is_none()) {
      return absl::InvalidArgumentError("character mapping must return integer, None or str");
    }
    rest.remove_prefix(rune.bytes);
    RETURN_IF_ERROR(budget.check_size(out.size()));
  }
  RETURN_IF_ERROR(budget.charge_bytes(out.size() + self.text().size()));
  return Value::string(std::move(out));
}

absl::StatusOr<Value> code_of(const Value& character) {
  if (character.integral()) return character;
  if (!character.is_string() || rune_count(character.text()) != 1) {
    return absl::InvalidArgumentError("string keys in translate table must be of length 1");
  }
  return Value::integer(static_cast<int64_t>(decode_rune(character.text()).code_point));
}

// The mapping that translate() takes: of a mapping, or of two texts of one length and one of what
// to drop.
absl::StatusOr<Value> maketrans_method(Budget& budget, const Value&, const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound,
                   BoundArguments::bind("maketrans", arguments, {"", "", ""}, 1));
  auto table = std::make_shared<Dict>();
  if (bound.get(1) == nullptr) {
    const Dict* mapping = bound.get(0)->as_dict();
    if (mapping == nullptr)
      return absl::InvalidArgumentError(
          "if you give only one argument to maketrans it must be a dict");
    for (const auto& [key, value] : mapping->items()) {
      ASSIGN_OR_RETURN(Value code, code_of(key));
      RETURN_IF_ERROR(table->insert(std::move(code), value));
    }
    return Value::of(std::shared_ptr<const Dict>(std::move(table)));
  }
  for (size_t i = 0; i < 3; ++i) {
    if (bound.get(i) != nullptr)
      RETURN_IF_ERROR(required_text("maketrans", *bound.get(i)).status());
  }
  ASSIGN_OR_RETURN(const std::vector<Value> from, elements_of(budget, *bound.get(0)));
  ASSIGN_OR_RETURN(const std::vector<Value> to, elements_of(budget, *bound.get(1)));
  if (from.size() != to.size())
    return absl::InvalidArgumentError("the first two maketrans arguments must have equal length");
  for (size_t i = 0; i < from.size(); ++i) {
    RETURN_IF_ERROR(table->insert(*code_of(from[i]), *code_of(to[i])));
  }
  if (bound.get(2) != nullptr) {
    ASSIGN_OR_RETURN(const std::vector<Value> dropped, elements_of(budget, *bound.get(2)));
    for (const Value& character : dropped)
      RETURN_IF_ERROR(table->insert(*code_of(character), Value()));
  }
  return Value::of(std::shared_ptr<const Dict>(std::move(table)));
}

absl::StatusOr<Value> format_map_method(Budget& budget, const Value& self,
                                        const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound,
                   BoundArguments::bind("format_map", arguments, {""}, 1));
  Arguments named;
  if (const Dict* mapping = bound.get(0)->as_dict()) {
    RETURN_IF_ERROR(budget.charge_bytes(mapping->items().size() * 2 * sizeof(Value)));
    for (const auto& [key, value] : mapping->items()) {
      if (key.is_string()) named.named.emplace_back(key.text(), value);
    }
  }
  return format_braces(budget, self, named);
}

template <bool marked>
absl::StatusOr<Value> markup_only(Budget& budget, const Value& self, const Arguments& arguments) {
  RETURN_IF_ERROR(BoundArguments::bind("markup method", arguments, {}).status());
  RETURN_IF_ERROR(budget.charge_bytes(self.text().size()));
  return Value::string(marked ? strip_tags(self.text()) : unescape_html(self.text()));
}

template <std::string (*operation)(std::string_view)>
absl::StatusOr<Value> simple_method(Budget& budget, const Value& self,
                                    const Arguments& arguments) {
  RETURN_IF_ERROR(BoundArguments::bind("string method", arguments, {}).status());
  RETURN_IF_ERROR(budget.charge_bytes(self.text().size()));
  return Value::string(operation(self.text()));
}

enum class Justify { kLeft, kRight, kCenter };
template <Justify justify>
absl::StatusOr<Value> justify_method(Budget& budget, const Value& self,
                                     const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound,
                   BoundArguments::bind("justify", arguments, {"", ""}, 1));
  ASSIGN_OR_RETURN(const int64_t width, bound.integer(0, 0));
  ASSIGN_OR_RETURN(const std::optional<std::string> given, bound.text(1));
  const std::string fill = given.value_or(" ");
  if (rune_count(fill) != 1) {
    return absl::InvalidArgumentError("The fill character must be exactly one character long");
  }
  if (justify == Justify::kCenter) {
    ASSIGN_OR_RETURN(std::string text, center_text(budget, self.text(), width, fill));
    return Value::string(std::move(text));
  }
  const auto length = static_cast<int64_t>(rune_count(self.text()));
  ASSIGN_OR_RETURN(const std::string padding,
                   center_text(budget, "", std::max<int64_t>(width - length, 0), fill));
  return Value::string(justify == Justify::kLeft ? self.text() + padding : padding + self.text());
}

absl::StatusOr<Value> zfill_method(Budget& budget, const Value& self,
                                   const Arguments& arguments) {
  ASSIGN_OR_RETURN(const BoundArguments bound, BoundArguments::bind("zfill", arguments, {""}, 1));
  ASSIGN_OR_RETURN(const int64_t width, bound.integer(0, 0));
  const std::string& text = self.text();
  const auto length = static_cast<int64_t>(rune_count(text));
  ASSIGN_OR_RETURN(const std::string zeros,
                   center_text(budget, "", std::max<int64_t>(width - length, 0), "0"));
  const size_t sign = text.starts_with('-') || text.starts_with('+') ? 1 : 0;
  return Value::string(text.substr(0, sign) + zeros + text.substr(sign));
}

absl::StatusOr<Value> format_method(Budget& budget, const Value& self,
                                    const Arguments& arguments) {
  return format_braces(budget, self, arguments);
}

constexpr std::array<std::pair<std::string_view, Method>, 35> kMethods = {{
    {"capitalize", simple_method<capitalize_text>},
    {"casefold", simple_method<fold_case>},
    {"center", justify_method<Justify::kCenter>},
    {"count", count_method},
    {"encode", refused_method},
    {"endswith", affix_method<true>},
    {"expandtabs", expandtabs_method},
    {"find", find_method_of_text<false, false>},
    {"format", format_method},
    {"format_map", format_map_method},
    {"index", find_method_of_text<false, true>},
    {"join", join_method},
    {"ljust", justify_method<Justify::kLeft>},
    {"lower", simple_method<to_lower>},
    {"lstrip", strip_method<StripSide::kLeft>},
    {"maketrans", maketrans_method},
    {"partition", partition_method<false>},
    {"removeprefix", remove_affix_method<false>},
    {"removesuffix", remove_affix_method<true>},
    {"replace", replace_method},
    {"rfind", find_method_of_text<true, false>},
    {"rindex", find_method_of_text<true, true>},
    {"rjust", justify_method<Justify::kRight>},
    {"rpartition", partition_method<true>},
    {"rsplit", split_method<true>},
    {"rstrip", strip_method<StripSide::kRight>},
    {"split", split_method<false>},
    {"splitlines", splitlines_method},
    {"startswith", affix_method<false>},
    {"strip", strip_method<StripSide::kBoth>},
    {"swapcase", simple_method<swap_case>},
    {"title", simple_method<title_text>},
    {"translate", translate_method},
    {"upper", simple_method<to_upper>},
    {"zfill", zfill_method},
}};

}  // namespace

Method find_string_method(std::string_view name) {
  for (const auto& [key, method] : kMethods) {
    if (key == name) return method;
  }
  return find_string_predicate(name);
}

Method find_markup_method(std::string_view name) {
  if (name == "striptags") return markup_only<true>;
  if (name == "unescape") return markup_only<false>;
  return nullptr;
}

std::vector<std::string_view> string_method_names() {
  std::vector<std::string_view> names = string_predicate_names();
  for (const auto& entry : kMethods) names.push_back(entry.first);
  return names;
}

}  // namespace conclave::coordinator::jinja
