#include "coordinator/chat_template/link_filter.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/chat_template/markup.h"
#include "coordinator/chat_template/subscript.h"
#include "coordinator/chat_template/unicode.h"
#include "coordinator/chat_template/value_text.h"

namespace conclave::coordinator::jinja {
namespace {

constexpr uint32_t kMatchLimit = 100'000;

// A whole-text pattern; a text on which matching takes too long does not match.
class Pattern {
 public:
  explicit Pattern(const char* text) {
    int error = 0;
    PCRE2_SIZE at = 0;
    code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(text), PCRE2_ZERO_TERMINATED,
                              PCRE2_UTF | PCRE2_UCP | PCRE2_CASELESS, &error, &at, nullptr));
    context_.reset(pcre2_match_context_create(nullptr));
    pcre2_set_match_limit(context_.get(), kMatchLimit);
  }
  bool matches(std::string_view text) const {
    const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data(
        pcre2_match_data_create(1, nullptr), pcre2_match_data_free);
    return pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0, 0,
                       data.get(), context_.get()) >= 0;
  }

 private:
  std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)> code_{nullptr, pcre2_code_free};
  std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)> context_{
      nullptr, pcre2_match_context_free};
};

struct Patterns {
  // A scheme or www and any domain, or a domain of the old kind without them, or a scheme and an IP
  // address.
  Pattern web{
      "^(?:(?:https?://|www\\.)(?:[\\w%-]+\\.)*(?:[a-z]{2,63}|xn--[\\w%]{2,59})"
      "|(?:[\\w%-]{2,63}\\.)+(?:com|edu|gov|info|int|mil|net|org)"
      "|https?://"
      "(?:\\d{1,3}(?:\\.\\d{1,3}){3}|\\[(?:[\\da-f]{0,4}:){2}(?:[\\da-f]{0,4}:?){1,6}\\]))"
      "(?::\\d{1,5})?(?:[/?#]\\S*)?$"};
  Pattern mail{"^\\S+@\\w[\\w.-]*\\.\\w+$"};
  Pattern scheme{"^[\\w.+-]{2,}:/{0,2}\\z"};
};

const Patterns& patterns() {
  static const Patterns kPatterns;
  return kPatterns;
}

struct LinkStyle {
  std::optional<int64_t> shown_length;
  std::string attributes;  // ' rel="..." target="..."'
  std::vector<std::string> schemes;
};

// How many bytes of brackets that do not belong to a link stand at the start, or at the end.
size_t opening_bytes(std::string_view word) {
  size_t at = 0;
  for (bool more = true; more;) {
    const std::string_view rest = word.substr(at);
    const size_t step = rest.starts_with('(') || rest.starts_with('<') ? 1
                        : rest.starts_with("&lt;")                     ? 4
                                                                       : 0;
    more = step > 0;
    at += step;
  }
  return at;
}

size_t closing_bytes(std::string_view word) {
  size_t bytes = 0;
  for (bool more = true; more;) {
    const std::string_view rest = word.substr(0, word.size() - bytes);
    const bool single =
        !rest.empty() && std::string_view(")>.,\n").find(rest.back()) != std::string_view::npos;
    const size_t step = single ? 1 : rest.ends_with("&gt;") ? 4 : 0;
    more = step > 0;
    bytes += step;
  }
  return bytes;
}

int64_t count(std::string_view text, std::string_view part) {
  int64_t found = 0;
  for (size_t at = text.find(part); at != std::string_view::npos;
       at = text.find(part, at + part.size()))
    ++found;
  return found;
}

std::string shortened(std::string_view link, const LinkStyle& style) {
  const std::vector<size_t> offsets = rune_offsets(link);
  const auto length = static_cast<int64_t>(offsets.size()) - 1;
  if (!style.shown_length || length <= *style.shown_length) return std::string(link);
  const int64_t kept = *style.shown_length < 0 ? std::max<int64_t>(length + *style.shown_length, 0)
                                               : *style.shown_length;
  return absl::StrCat(std::string(link.substr(0, offsets[static_cast<size_t>(kept)])), "...");
}

std::string linked(const std::string& middle, const LinkStyle& style) {
  if (patterns().web.matches(middle)) {
    const bool schemed = middle.starts_with("https://") || middle.starts_with("http://");
    return absl::StrCat("<a href=\"", schemed ? "" : "https://", middle, "\"", style.attributes,
                        ">", shortened(middle, style), "</a>");
  }
  if (middle.starts_with("mailto:") &&
      patterns().mail.matches(std::string_view(middle).substr(7))) {
    return absl::StrCat("<a href=\"", middle, "\">", middle.substr(7), "</a>");
  }
  const bool mail = middle.find('@') != std::string::npos && !middle.starts_with("www.") &&
                    !middle.starts_with('@') && middle.find(':') == std::string::npos &&
                    patterns().mail.matches(middle);
  if (mail) return absl::StrCat("<a href=\"mailto:", middle, "\">", middle, "</a>");
  std::string out = middle;
  for (const std::string& scheme : style.schemes) {
    if (out != scheme && out.starts_with(scheme)) {
      out = absl::StrCat("<a href=\"", out, "\"", style.attributes, ">", out, "</a>");
    }
  }
  return out;
}

std::string link_word(std::string_view word, const LinkStyle& style) {
  const size_t head = opening_bytes(word);
  const std::string_view inner = word.substr(head);
  const size_t closing = closing_bytes(inner);
  std::string middle(inner.substr(0, inner.size() - closing));
  std::string tail(inner.substr(inner.size() - closing));
  constexpr std::array<std::pair<std::string_view, std::string_view>, 3> kBrackets = {
      {{"(", ")"}, {"<", ">"}, {"&lt;", "&gt;"}}};
  for (const auto& [open, close] : kBrackets) {
    const int64_t opened = count(middle, open);
    if (opened <= count(middle, close)) continue;
    // What closes brackets of the link belongs to it.
    for (int64_t i = std::min(opened, count(tail, close)); i > 0; --i) {
      const size_t end = tail.find(close) + close.size();
      middle += tail.substr(0, end);
      tail.erase(0, end);
    }
  }
  return absl::StrCat(std::string(word.substr(0, head)), linked(middle, style), tail);
}

absl::StatusOr<LinkStyle> read_style(Budget& budget, const BoundArguments& bound) {
  LinkStyle style;
  if (bound.get(0) != nullptr) style.shown_length = bound.get(0)->integral();
  ASSIGN_OR_RETURN(const std::optional<std::string> rel, bound.text(3));
  std::set<std::string> parts = {"noopener"};
  if (bound.truthy(1, false)) parts.insert("nofollow");
  std::string word;
  for (const char c : rel.value_or("") + " ") {
    if (c != ' ' && c != '\t' && c != '\n') {
      word += c;
    } else if (!word.empty()) {
      parts.insert(std::exchange(word, ""));
    }
  }
  std::string joined;
  for (const std::string& part : parts) absl::StrAppend(&joined, joined.empty() ? "" : " ", part);
  style.attributes = absl::StrCat(" rel=\"", escape_html(joined), "\"");
  ASSIGN_OR_RETURN(const std::optional<std::string> target, bound.text(2));
  if (target && !target->empty())
    absl::StrAppend(&style.attributes, " target=\"", escape_html(*target), "\"");
  if (bound.get(4) == nullptr || bound.get(4)->is_none()) return style;
  ASSIGN_OR_RETURN(const std::vector<Value> schemes, elements_of(budget, *bound.get(4)));
  for (const Value& scheme : schemes) {
    if (!scheme.is_string() || !patterns().scheme.matches(scheme.text())) {
      return absl::InvalidArgumentError("urlize: not a valid URI scheme prefix");
    }
    style.schemes.push_back(scheme.text());
  }
  return style;
}

}  // namespace

absl::StatusOr<Value> urlize(Budget& budget, const Value& input, const Arguments& arguments) {
  ASSIGN_OR_RETURN(
      const BoundArguments bound,
      BoundArguments::bind("urlize", arguments,
                           {"trim_url_limit", "nofollow", "target", "rel", "extra_schemes"}));
  ASSIGN_OR_RETURN(const LinkStyle style, read_style(budget, bound));
  ASSIGN_OR_RETURN(const Value text, escaped(budget, input));
  std::string out;
  for (std::string_view rest = text.text(); !rest.empty();) {
    size_t end = 0;
    const bool blank = is_space(decode_rune(rest).code_point);
    while (end < rest.size() && is_space(decode_rune(rest.substr(end)).code_point) == blank)
      end += decode_rune(rest.substr(end)).bytes;
    RETURN_IF_ERROR(budget.charge_bytes(end + 64));
    out += blank ? std::string(rest.substr(0, end)) : link_word(rest.substr(0, end), style);
    RETURN_IF_ERROR(budget.check_size(out.size()));
    rest.remove_prefix(end);
  }
  return Value::string(std::move(out));
}

}  // namespace conclave::coordinator::jinja
