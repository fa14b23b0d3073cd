#ifndef CONCLAVE_COORDINATOR_CHAT_TEMPLATE_TEXT_WRAP_H_
#define CONCLAVE_COORDINATOR_CHAT_TEMPLATE_TEXT_WRAP_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace conclave::coordinator::jinja {

struct WrapStyle {
  int64_t width = 79;  // at least 1
  bool break_long_words = true;
  bool break_on_hyphens = true;
};

// The lines of one paragraph, broken where Python's textwrap breaks it (tabs and blanks as they
// are).
std::vector<std::string> wrap_text(std::string_view paragraph, const WrapStyle& style);

}  // namespace conclave::coordinator::jinja

#endif  // CONCLAVE_COORDINATOR_CHAT_TEMPLATE_TEXT_WRAP_H_
