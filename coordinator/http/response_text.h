#ifndef CONCLAVE_COORDINATOR_HTTP_RESPONSE_TEXT_H_
#define CONCLAVE_COORDINATOR_HTTP_RESPONSE_TEXT_H_

// The bytes of an HTTP/1 response.

#include <string>
#include <string_view>

#include "coordinator/http/http_message.h"

namespace conclave::coordinator {

enum class BodyFraming { kContentLength, kChunked, kUntilClose };

struct ResponseHead {
  int status = 200;
  const HttpHeaders* headers = nullptr;
  std::string_view request_id;
  BodyFraming framing = BodyFraming::kContentLength;
  size_t content_length = 0;
  bool keep_alive = true;
  int http_minor = 1;
  const HttpHeaders* more_headers = nullptr;
};

const char* reason_phrase(int status);
// Status line and headers with the empty line. Line breaks inside header values are dropped.
std::string render_head(const ResponseHead& head);
void append_chunk(std::string* out, std::string_view data);
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_HTTP_RESPONSE_TEXT_H_
