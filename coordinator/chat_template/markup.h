#ifndef CONCLAVE_COORDINATOR_CHAT_TEMPLATE_MARKUP_H_
#define CONCLAVE_COORDINATOR_CHAT_TEMPLATE_MARKUP_H_

// markupsafe's escaped text: what the filters e, escape, forceescape and safe make, and how it
// behaves where it meets plain text.

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "coordinator/chat_template/arguments.h"
#include "coordinator/chat_template/budget.h"
#include "coordinator/chat_template/value.h"

namespace conclave::coordinator::jinja {

std::string escape_html(std::string_view text);
// Markup of str(value), escaped unless it is markup.
absl::StatusOr<Value> escaped(Budget& budget, const Value& value);
// Text of the kind of `like`.
Value text_like(const Value& like, std::string text);

// A str method's arguments as Markup's method passes them on: what is put into the text gets
// escaped.
absl::StatusOr<Arguments> markup_arguments(Budget& budget, std::string_view method,
                                           const Arguments& arguments);
// What that method returned, as Markup returns it.
absl::StatusOr<Value> markup_result(Value result);

// Markup's unescape() and striptags().
std::string unescape_html(std::string_view text);
std::string strip_tags(std::string_view text);

}  // namespace conclave::coordinator::jinja

#endif  // CONCLAVE_COORDINATOR_CHAT_TEMPLATE_MARKUP_H_
