#include "coordinator/chat_template/string_operations.h"

#include <algorithm>
#include <limits>

#include "base/status_macros.h"
#include "coordinator/chat_template/unicode.h"
#include "coordinator/chat_template/value_text.h"

namespace conclave::coordinator::jinja {
namespace {

absl::StatusOr<std::string> replace_between(Budget& budget, std::string_view text,
                                            std::string_view to, int64_t count) {
  std::string out;
  for (;;) {
    if (count != 0) {
      RETURN_IF_ERROR(budget.charge_bytes(to.size()));
      out += to;
      if (count > 0) --count;
    }
    if (text.empty()) break;
    const size_t bytes = decode_rune(text).bytes;
    out += text.substr(0, bytes);
    text.remove_prefix(bytes);
    if (out.size() > budget.limits().value_bytes) break;
  }
  RETURN_IF_ERROR(budget.charge_bytes(out.size()));
  return out;
}

}  // namespace

absl::StatusOr<std::string> replace_text(Budget& budget, std::string_view text,
                                         std::string_view from, std::string_view to,
                                         int64_t count) {
  if (from.empty()) return replace_between(budget, text, to, count);
  std::string out;
  for (; count != 0; count -= count > 0 ? 1 : 0) {
    const size_t found = text.find(from);
    if (found == std::string_view::npos) break;
    RETURN_IF_ERROR(budget.charge_bytes(found + to.size()));
    out += text.substr(0, found);
    out += to;
    text.remove_prefix(found + from.size());
    if (out.size() > budget.limits().value_bytes) break;
  }
  RETURN_IF_ERROR(budget.charge_bytes(out.size() + text.size()));
  out += text;
  return out;
}

absl::StatusOr<std::string> join_texts(Budget& budget, std::string_view separator,
                                       const std::vector<Value>& items) {
  std::string out;
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) {
      RETURN_IF_ERROR(budget.charge_bytes(separator.size()));
      out += separator;
    }
    RETURN_IF_ERROR(append_text(budget, items[i], out));
  }
  RETURN_IF_ERROR(budget.charge_bytes(out.size()));
  return out;
}

std::string capitalize_text(std::string_view text) {
  if (text.empty()) return "";
  const DecodedRune first = decode_rune(text);
  if (first.bytes == 1 && first.code_point >= 0x80) {
    return std::string(text.substr(0, 1)) + to_lower(text.substr(1));
  }
  // Lowered as a whole, as the letters before decide what a final sigma is.
  const std::string lower = to_lower(text);
  const size_t first_lowered = to_lower(text.substr(0, first.bytes)).size();
  return title_of(first.code_point) + lower.substr(first_lowered);
}

absl::StatusOr<std::string> center_text(Budget& budget, std::string_view text, int64_t width,
                                        std::string_view fill) {
  const auto length = static_cast<int64_t>(rune_count(text));
  if (length >= width) return std::string(text);
  const auto missing = static_cast<size_t>(width - length);
  if (missing > budget.limits().value_bytes / fill.size()) {
    return budget.charge_bytes(std::numeric_limits<size_t>::max());
  }
  RETURN_IF_ERROR(budget.charge_bytes(missing * fill.size() + text.size()));
  const size_t left = missing / 2 + (missing & static_cast<size_t>(width) & 1);
  std::string out;
  for (size_t i = 0; i < left; ++i) out += fill;
  out += text;
  for (size_t i = left; i < missing; ++i) out += fill;
  return out;
}

}  // namespace conclave::coordinator::jinja
