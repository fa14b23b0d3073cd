// What a request says of its body, before anything reads it.

#include <string>

#include "coordinator/openai/endpoints.h"

namespace conclave::coordinator {
namespace {

constexpr std::string_view kBlanks = " \t";

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

// Cuts off and returns what lies before the first separator.
std::string_view take_until(std::string_view* text, char separator) {
  const size_t end = text->find(separator);
  const std::string_view head = text->substr(0, end);
  *text = end == std::string_view::npos ? std::string_view() : text->substr(end + 1);
  return trimmed(head);
}

ApiError unsupported(std::string message, const char* code) {
  ApiError error = bad_request(std::move(message), std::nullopt, code);
  error.status = 415;
  return error;
}

std::optional<ApiError> check_encodings(std::string_view list) {
  while (!list.empty()) {
    const std::string_view coding = take_until(&list, ',');
    if (coding.empty() || equals_ignoring_case(coding, "identity")) continue;
    ApiError error =
        unsupported("The body comes with \"Content-Encoding: " + std::string(coding.substr(0, 64)) +
                        "\", which this server does not decode: send it uncompressed.",
                    "unsupported_content_encoding");
    error.headers.push_back({"Accept-Encoding", "identity"});
    return error;
  }
  return std::nullopt;
}

bool is_json(std::string_view type) {
  constexpr std::string_view kSuffix = "+json";
  return equals_ignoring_case(type, "application/json") ||
         (type.size() > kSuffix.size() &&
          equals_ignoring_case(type.substr(type.size() - kSuffix.size()), kSuffix));
}

bool is_utf8(std::string_view charset) {
  if (charset.size() >= 2 && charset.front() == '"' && charset.back() == '"')
    charset = charset.substr(1, charset.size() - 2);
  return equals_ignoring_case(charset, "utf-8") || equals_ignoring_case(charset, "utf8") ||
         equals_ignoring_case(charset, "us-ascii");
}

std::optional<ApiError> check_type(std::string_view value) {
  const std::string_view type = take_until(&value, ';');
  if (!type.empty() && !is_json(type)) {
    return unsupported("The body must be sent as \"Content-Type: application/json\".",
                       "unsupported_media_type");
  }
  while (!value.empty()) {
    std::string_view parameter = take_until(&value, ';');
    if (!equals_ignoring_case(take_until(&parameter, '='), "charset")) continue;
    if (is_utf8(trimmed(parameter))) continue;
    return unsupported("The body must be UTF-8, not charset " +
                           std::string(trimmed(parameter).substr(0, 64)) + ".",
                       "unsupported_charset");
  }
  return std::nullopt;
}

}  // namespace

std::optional<ApiError> check_body_headers(const HttpRequest& request) {
  for (const HttpHeader& header : request.headers) {
    if (!equals_ignoring_case(header.name, "content-encoding")) continue;
    if (auto error = check_encodings(header.value)) return error;
  }
  return check_type(request.header("content-type"));
}

}  // namespace conclave::coordinator
