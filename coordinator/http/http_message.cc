#include "coordinator/http/http_message.h"

#include <algorithm>
#include <random>

#include "coordinator/http/authority.h"

namespace conclave::coordinator {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char l = lower(c);
  return l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}

}  // namespace

bool equals_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return lower(x) == lower(y); });
}

std::string_view HttpRequest::header(std::string_view name) const {
  for (const HttpHeader& header : headers) {
    if (equals_ignoring_case(header.name, name)) return header.value;
  }
  return {};
}

std::string percent_decode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      const int high = hex_digit(text[i + 1]);
      const int low = hex_digit(text[i + 2]);
      if (high >= 0 && low >= 0) {
        out.push_back(static_cast<char>(high * 16 + low));
        i += 2;
        continue;
      }
    }
    out.push_back(text[i]);
  }
  return out;
}

bool HttpRequest::has_body() const {
  const std::string_view length = header("content-length");
  return !header("transfer-encoding").empty() ||
         length.find_first_not_of('0') != std::string_view::npos;
}

bool split_target(HttpRequest* request) {
  std::string_view target = request->target;
  request->host = std::string(request->header("host"));
  if (!target.starts_with('/') && !(target == "*" && request->method == "OPTIONS")) {
    const size_t scheme = target.find("://");
    if (scheme == std::string_view::npos ||
        (!equals_ignoring_case(target.substr(0, scheme), "http") &&
         !equals_ignoring_case(target.substr(0, scheme), "https")))
      return false;
    target.remove_prefix(scheme + 3);
    const size_t end = std::min(target.find_first_of("/?"), target.size());
    request->host = std::string(target.substr(0, end));
    if (!parse_authority(request->host)) return false;
    target.remove_prefix(end);
  }
  const size_t question = target.find('?');
  request->path = percent_decode(target.substr(0, question));
  if (request->path.empty()) request->path = "/";
  request->query =
      question == std::string_view::npos ? "" : std::string(target.substr(question + 1));
  return true;
}

std::string random_hex_id() {
  std::random_device device;
  std::string id;
  for (int word = 0; word < 3; ++word) {
    uint32_t bits = device();
    for (int digit = 0; digit < 8; ++digit, bits >>= 4)
      id.push_back("0123456789abcdef"[bits & 15u]);
  }
  return id;
}

std::string choose_request_id(std::string_view from_client) {
  const bool printable = std::all_of(from_client.begin(), from_client.end(),
                                     [](char c) { return c > 0x20 && c < 0x7F; });
  if (from_client.empty() || from_client.size() > 128 || !printable)
    return "req-" + random_hex_id();
  return std::string(from_client);
}

void HttpResponder::respond_from(int status, HttpHeaders headers, HttpBodySource source) {
  std::string body;
  while (source(&body)) {
  }
  respond(status, std::move(headers), std::move(body));
}

}  // namespace conclave::coordinator
