#include "coordinator/http/request_parser.h"

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <exception>
#include <utility>

namespace conclave::coordinator {

namespace http = boost::beast::http;

struct RequestParser::Impl {
  Impl(size_t max_header_bytes, size_t max_body_bytes) {
    parser.header_limit(static_cast<uint32_t>(max_header_bytes));
    parser.body_limit(max_body_bytes);
    parser.eager(true);
  }
  http::request_parser<http::string_body> parser;
};

RequestParser::RequestParser(size_t max_header_bytes, size_t max_body_bytes)
    : max_header_bytes_(max_header_bytes),
      max_body_bytes_(max_body_bytes),
      impl_(std::make_unique<Impl>(max_header_bytes, max_body_bytes)) {}

RequestParser::~RequestParser() = default;

bool RequestParser::started() const {
  return state_ != State::kHeader || !buffer_.empty() || impl_->parser.got_some();
}

void RequestParser::fail(int status, std::string message, std::string code) {
  state_ = State::kFailed;
  error_ = bad_request(std::move(message), std::nullopt, std::move(code));
  error_.status = status;
  buffer_.clear();
}

RequestParser::State RequestParser::feed(std::string_view bytes) {
  if (state_ == State::kFailed) return state_;
  buffer_.append(bytes);
  return parse();
}

RequestParser::State RequestParser::parse() {
  boost::system::error_code error;
  size_t consumed = 0;
  try {
    while (state_ != State::kDone && consumed < buffer_.size()) {
      const size_t taken = impl_->parser.put(
          boost::asio::buffer(buffer_.data() + consumed, buffer_.size() - consumed), error);
      consumed += taken;
      if (impl_->parser.is_header_done()) state_ = State::kBody;
      if (impl_->parser.is_done()) state_ = State::kDone;
      if (error || taken == 0) break;
    }
  } catch (const std::exception&) {
    error = http::error::bad_field;
  }
  buffer_.erase(0, consumed);
  if (!error || error == http::error::need_more) return state_;
  if (error == http::error::header_limit) {
    fail(431, "The request header is larger than " + std::to_string(max_header_bytes_) + " bytes.",
         "header_too_large");
  } else if (error == http::error::body_limit || error == http::error::buffer_overflow) {
    fail(413, "The request body is larger than " + std::to_string(max_body_bytes_) + " bytes.",
         "body_too_large");
  } else {
    fail(400, "This is not a valid HTTP/1.1 request: " + error.message() + ".", "bad_http");
  }
  return state_;
}

bool RequestParser::take_expect_continue() {
  if (state_ != State::kBody || continue_taken_) return false;
  continue_taken_ = true;
  const auto& message = impl_->parser.get();
  return message.version() >= 11 &&
         boost::beast::iequals(message[http::field::expect], "100-continue");
}

std::string RequestParser::request_id() const {
  const auto value = impl_->parser.get()["x-request-id"];
  return choose_request_id(std::string_view(value.data(), value.size()));
}

HttpRequest RequestParser::take() {
  auto message = impl_->parser.release();
  HttpRequest request;
  request.method = std::string(message.method_string().data(), message.method_string().size());
  request.target = std::string(message.target().data(), message.target().size());
  request.http_minor = message.version() >= 11 ? 1 : 0;
  request.keep_alive = message.keep_alive();
  for (const auto& field : message) {
    request.headers.push_back({std::string(field.name_string().data(), field.name_string().size()),
                               std::string(field.value().data(), field.value().size())});
  }
  request.body = std::move(message.body());
  request.request_id = choose_request_id(request.header("x-request-id"));
  split_target(&request);
  return request;
}

RequestParser::State RequestParser::next() {
  impl_ = std::make_unique<Impl>(max_header_bytes_, max_body_bytes_);
  state_ = State::kHeader;
  continue_taken_ = false;
  return parse();
}

}  // namespace conclave::coordinator
