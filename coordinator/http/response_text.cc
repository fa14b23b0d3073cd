#include "coordinator/http/response_text.h"

#include <charconv>

namespace conclave::coordinator {
namespace {

void append_header(std::string* out, std::string_view name, std::string_view value) {
  out->append(name).append(": ");
  for (const char c : value) {
    if (c != '\r' && c != '\n') out->push_back(c);
  }
  out->append("\r\n");
}

}  // namespace

const char* reason_phrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 408:
      return "Request Timeout";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    default:
      return "Unknown";
  }
}

std::string render_head(const ResponseHead& head) {
  std::string out =
      "HTTP/1.1 " + std::to_string(head.status) + " " + reason_phrase(head.status) + "\r\n";
  for (const HttpHeaders* headers : {head.headers, head.more_headers}) {
    if (headers == nullptr) continue;
    for (const HttpHeader& header : *headers) append_header(&out, header.name, header.value);
  }
  append_header(&out, "x-request-id", head.request_id);
  if (head.framing == BodyFraming::kChunked) {
    out.append("Transfer-Encoding: chunked\r\n");
  } else if (head.framing == BodyFraming::kContentLength && head.status != 204) {
    out.append("Content-Length: " + std::to_string(head.content_length) + "\r\n");
  }
  if (!head.keep_alive) {
    out.append("Connection: close\r\n");
  } else if (head.http_minor == 0) {
    out.append("Connection: keep-alive\r\n");
  }
  out.append("\r\n");
  return out;
}

void append_chunk(std::string* out, std::string_view data) {
  if (data.empty()) return;  // an empty chunk would end the stream
  char size[20];
  const auto end = std::to_chars(size, size + sizeof size, data.size(), 16).ptr;
  out->append(size, static_cast<size_t>(end - size)).append("\r\n").append(data).append("\r\n");
}

}  // namespace conclave::coordinator
