#ifndef CONCLAVE_COORDINATOR_HTTP_REQUEST_FRAMING_H_
#define CONCLAVE_COORDINATOR_HTTP_REQUEST_FRAMING_H_

// Where a request's head ends and how long its body is, from its bytes alone and stricter than any
// library must be: whoever disagrees with us about it could slip a request past us (RFC 9112, 6).

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace conclave::coordinator {

// Finds the end of a head in bytes that come in pieces.
class HeadScanner {
 public:
  enum class Found { kMore, kEnd, kBadByte };
  // head: all bytes so far, from the head's first. kBadByte, as soon as one is seen: a line feed or
  // carriage return without the other, or another control character than a tab.
  Found look(std::string_view head);
  // For kEnd: bytes up to and with the empty line.
  size_t length() const { return next_; }

 private:
  size_t next_ = 0;
};

struct FramingFault {
  int status = 400;  // or 501: a transfer coding that is not understood
  std::string message;
};

struct RequestFraming {
  bool chunked = false;
  uint64_t content_length = 0;  // of a body that is not chunked
  bool has_body() const { return chunked || content_length > 0; }
};

// head: a whole head. Refuses, so that the connection must end: a line that goes on in the next
// one, a blank before the colon, a name that is none; in HTTP/1.1 no Host or more than one; more
// than one Content-Length or one that is no number; Transfer-Encoding beside Content-Length, in
// HTTP/1.0, or other than "chunked" once.
std::optional<FramingFault> read_framing(std::string_view head, RequestFraming* framing);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_HTTP_REQUEST_FRAMING_H_
