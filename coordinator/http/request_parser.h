#ifndef CONCLAVE_COORDINATOR_HTTP_REQUEST_PARSER_H_
#define CONCLAVE_COORDINATOR_HTTP_REQUEST_PARSER_H_

// Bytes in, requests out, with a halt between a request's head and its body. The only place that
// knows which library parses HTTP. Not thread-safe.
//
//   kHeader ──> kHead ── accept_body() ──> kBody ──> kDone ── take(), next() ──> kHeader
//   kFailed from any of them: where the next request would begin is not certain

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "coordinator/http/error_response.h"
#include "coordinator/http/http_message.h"
#include "coordinator/http/request_framing.h"

namespace conclave::coordinator {

class RequestParser {
 public:
  RequestParser(size_t max_header_bytes, size_t max_body_bytes);
  ~RequestParser();
  RequestParser(const RequestParser&) = delete;
  RequestParser& operator=(const RequestParser&) = delete;

  enum class State { kHeader, kHead, kBody, kDone, kFailed };
  // Appends bytes and parses as far as one head, then as far as its body goes; what follows waits
  // for accept_body() and next().
  State feed(std::string_view bytes);
  State state() const { return state_; }
  // Bytes of the request in progress have arrived.
  bool started() const { return state_ != State::kHeader || !buffer_.empty(); }
  // Bytes that wait behind a complete request.
  size_t buffered_bytes() const { return buffer_.size(); }

  // From kHead on: the request without its body.
  HttpRequest& request() { return request_; }
  const RequestFraming& framing() const { return framing_; }
  // In kHead: goes on to the body.
  State accept_body();
  // Memory that the body takes so far.
  size_t body_bytes() const;
  // The client waits for "100 Continue" before it sends the body; true once per request.
  bool take_expect_continue();
  // For kFailed: 400, 413 (body too large), 431 (header too large) or 501 (transfer coding).
  const ApiError& error() const { return error_; }
  // The client's id if a head was read and has one, else a new one.
  std::string request_id() const;
  // For kDone: moves the request out.
  HttpRequest take();
  // Begins the next request, with the bytes that are buffered.
  State next();
  // Lets go of everything; nothing is parsed any more.
  void abandon();

 private:
  struct Impl;
  State parse();
  void skip_empty_lines();
  void find_head();
  void read_head(std::string_view head);
  void fill_request();
  void parse_body();
  void fail(int status, std::string message, std::string code);

  const size_t max_header_bytes_;
  const size_t max_body_bytes_;
  State state_ = State::kHeader;
  std::string buffer_;
  HeadScanner scanner_;
  int empty_lines_ = 0;  // skipped before the head
  RequestFraming framing_;
  HttpRequest request_;
  bool continue_taken_ = false;
  ApiError error_;
  std::unique_ptr<Impl> impl_;  // of the request whose head was read
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_HTTP_REQUEST_PARSER_H_
