#ifndef CONCLAVE_COORDINATOR_HTTP_REQUEST_PARSER_H_
#define CONCLAVE_COORDINATOR_HTTP_REQUEST_PARSER_H_

// Bytes in, requests out. The only place that knows which library parses HTTP. Not thread-safe.

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "coordinator/http/error_response.h"
#include "coordinator/http/http_message.h"

namespace conclave::coordinator {

class RequestParser {
 public:
  RequestParser(size_t max_header_bytes, size_t max_body_bytes);
  ~RequestParser();
  RequestParser(const RequestParser&) = delete;
  RequestParser& operator=(const RequestParser&) = delete;

  enum class State { kHeader, kBody, kDone, kFailed };
  // Appends bytes and parses as far as one request goes; what follows it waits for next().
  State feed(std::string_view bytes);
  State state() const { return state_; }
  // Bytes of the request in progress have arrived.
  bool started() const;
  // Bytes that wait behind a complete request.
  size_t buffered_bytes() const { return buffer_.size(); }
  // The client waits for "100 Continue" before it sends the body; true once per request.
  bool take_expect_continue();
  // For kFailed: 400, 413 (body too large) or 431 (header too large).
  const ApiError& error() const { return error_; }
  // For kFailed in the body: the client's id, if the header was read.
  std::string request_id() const;
  // For kDone: moves the request out.
  HttpRequest take();
  // Begins the next request, with the bytes that are buffered.
  State next();

 private:
  struct Impl;
  State parse();
  void fail(int status, std::string message, std::string code);

  const size_t max_header_bytes_;
  const size_t max_body_bytes_;
  State state_ = State::kHeader;
  std::string buffer_;
  bool continue_taken_ = false;
  ApiError error_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_HTTP_REQUEST_PARSER_H_
