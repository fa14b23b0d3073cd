#include "coordinator/http/request_parser.h"

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <exception>
#include <limits>
#include <utility>

namespace conclave::coordinator {

namespace http = boost::beast::http;

namespace {
constexpr int kMostEmptyLines = 8;
}  // namespace

struct RequestParser::Impl {
  Impl() {
    // Both are limited here already, the body once somebody wants it.
    parser.header_limit(std::numeric_limits<uint32_t>::max());
    parser.body_limit(boost::none);
  }
  http::request_parser<http::string_body> parser;
};

RequestParser::RequestParser(size_t max_header_bytes, size_t max_body_bytes)
    : max_header_bytes_(max_header_bytes), max_body_bytes_(max_body_bytes) {}

RequestParser::~RequestParser() = default;

void RequestParser::fail(int status, std::string message, std::string code) {
  abandon();
  error_ = bad_request(std::move(message), std::nullopt, std::move(code));
  error_.status = status;
}

void RequestParser::abandon() {
  state_ = State::kFailed;
  impl_.reset();
  request_.body_share.reset();
  std::string().swap(buffer_);
}

RequestParser::State RequestParser::feed(std::string_view bytes) {
  if (state_ == State::kFailed) return state_;
  buffer_.append(bytes);
  return parse();
}

RequestParser::State RequestParser::parse() {
  if (state_ == State::kHeader) find_head();
  if (state_ == State::kBody) parse_body();
  return state_;
}

// Old clients send an empty line behind a body.
void RequestParser::skip_empty_lines() {
  if (scanner_.length() != 0) return;
  while (empty_lines_ < kMostEmptyLines && buffer_.starts_with("\r\n")) {
    buffer_.erase(0, 2);
    ++empty_lines_;
  }
}

void RequestParser::find_head() {
  skip_empty_lines();
  if (buffer_ == "\r") return;  // of an empty line, perhaps
  const std::string_view seen = std::string_view(buffer_).substr(0, max_header_bytes_);
  switch (scanner_.look(seen)) {
    case HeadScanner::Found::kBadByte:
      return fail(400,
                  "This is not a valid HTTP/1.1 request: its head has a control character, or a "
                  "line that does not end with CR LF.",
                  "bad_http");
    case HeadScanner::Found::kMore:
      if (seen.size() < max_header_bytes_) return;
      return fail(
          431, "The request header is larger than " + std::to_string(max_header_bytes_) + " bytes.",
          "header_too_large");
    case HeadScanner::Found::kEnd:
      break;
  }
  const std::string head = buffer_.substr(0, scanner_.length());
  buffer_.erase(0, head.size());
  read_head(head);
}

void RequestParser::read_head(std::string_view head) {
  impl_ = std::make_unique<Impl>();
  boost::system::error_code error;
  try {
    const size_t taken = impl_->parser.put(boost::asio::buffer(head.data(), head.size()), error);
    if (!error && (taken != head.size() || !impl_->parser.is_header_done()))
      error = http::error::partial_message;
  } catch (const std::exception&) {
    error = http::error::bad_field;
  }
  if (impl_->parser.is_header_done()) fill_request();
  if (auto fault = read_framing(head, &framing_)) {
    return fail(fault->status, std::move(fault->message),
                fault->status == 501 ? "transfer_coding_not_supported" : "bad_http");
  }
  // Two opinions about the body are one too many.
  const auto& parser = impl_->parser;
  if (!error && (parser.chunked() != framing_.chunked ||
                 parser.content_length().value_or(0) != framing_.content_length))
    error = http::error::bad_content_length;
  if (error)
    return fail(400, "This is not a valid HTTP/1.1 request: " + error.message() + ".", "bad_http");
  if (!split_target(&request_)) {
    return fail(400, "The request's target is neither a path nor an http:// URL.", "bad_http");
  }
  state_ = State::kHead;
}

void RequestParser::fill_request() {
  const auto& message = impl_->parser.get();
  request_ = {};
  request_.method = std::string(message.method_string().data(), message.method_string().size());
  request_.target = std::string(message.target().data(), message.target().size());
  request_.http_minor = message.version() >= 11 ? 1 : 0;
  request_.keep_alive = message.keep_alive();
  for (const auto& field : message) {
    request_.headers.push_back({std::string(field.name_string().data(), field.name_string().size()),
                                std::string(field.value().data(), field.value().size())});
  }
  request_.request_id = choose_request_id(request_.header("x-request-id"));
}

RequestParser::State RequestParser::accept_body() {
  if (framing_.content_length > max_body_bytes_) {
    fail(413, "The request body is larger than " + std::to_string(max_body_bytes_) + " bytes.",
         "body_too_large");
    return state_;
  }
  impl_->parser.body_limit(max_body_bytes_);
  state_ = impl_->parser.is_done() ? State::kDone : State::kBody;
  return parse();
}

void RequestParser::parse_body() {
  boost::system::error_code error;
  size_t consumed = 0;
  try {
    while (!impl_->parser.is_done() && consumed < buffer_.size()) {
      const size_t taken = impl_->parser.put(
          boost::asio::buffer(buffer_.data() + consumed, buffer_.size() - consumed), error);
      consumed += taken;
      if (error || taken == 0) break;
    }
  } catch (const std::exception&) {
    error = http::error::bad_chunk;
  }
  buffer_.erase(0, consumed);
  if (error == http::error::need_more) error = {};
  if (error == http::error::body_limit || error == http::error::buffer_overflow) {
    return fail(413,
                "The request body is larger than " + std::to_string(max_body_bytes_) + " bytes.",
                "body_too_large");
  }
  // What is left over is a chunk's size or a trailer without its end.
  if (!error && !impl_->parser.is_done() && buffer_.size() > max_header_bytes_)
    error = http::error::bad_chunk_extension;
  if (error)
    return fail(400, "The body is not framed as HTTP/1.1 asks: " + error.message() + ".",
                "bad_http");
  if (impl_->parser.is_done()) state_ = State::kDone;
}

size_t RequestParser::body_bytes() const {
  if (impl_ == nullptr) return 0;
  // A chunked body grows by doubling; the other kind has its place already, untouched.
  const std::string& body = impl_->parser.get().body();
  return framing_.chunked ? body.capacity() : body.size();
}

bool RequestParser::take_expect_continue() {
  if (state_ != State::kBody || continue_taken_) return false;
  continue_taken_ = true;
  return request_.http_minor == 1 &&
         equals_ignoring_case(request_.header("expect"), "100-continue");
}

std::string RequestParser::request_id() const {
  return request_.request_id.empty() ? choose_request_id("") : request_.request_id;
}

HttpRequest RequestParser::take() {
  request_.body = std::move(impl_->parser.get().body());
  impl_.reset();
  return std::exchange(request_, {});
}

RequestParser::State RequestParser::next() {
  impl_.reset();
  request_ = {};
  framing_ = {};
  scanner_ = {};
  state_ = State::kHeader;
  continue_taken_ = false;
  empty_lines_ = 0;
  if (buffer_.empty()) std::string().swap(buffer_);
  return parse();
}

}  // namespace conclave::coordinator
