#include "coordinator/http/client/http_forwarder.h"

#include <array>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <thread>

#include "absl/strings/str_cat.h"
#include "coordinator/http/error_response.h"

namespace conclave::coordinator {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;

// Headers about one connection (RFC 9110, 7.6.1), and those that the two HTTP layers write
// themselves.
bool travels(std::string_view name) {
  for (const char* own :
       {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding",
        "upgrade", "content-length", "host", "expect", "x-request-id"}) {
    if (equals_ignoring_case(name, own)) return false;
  }
  return true;
}

// One request to the other server. Keeps itself alive through its handlers; all of them run on the
// forwarder's thread.
class Passage : public std::enable_shared_from_this<Passage> {
 public:
  Passage(asio::io_context& io, const HttpEndpoint& endpoint, HttpRequest request,
          std::shared_ptr<HttpResponder> responder)
      : io_(io), socket_(io), endpoint_(endpoint), responder_(std::move(responder)) {
    parser_.body_limit(boost::none);
    if (request.method == "HEAD") parser_.skip(true);
    request_.method_string(request.method);
    request_.target(request.target);
    request_.version(11);
    request_.set(http::field::host, absl::StrCat(endpoint.host, ":", endpoint.port));
    request_.set(http::field::connection, "close");
    for (const HttpHeader& header : request.headers) {
      if (travels(header.name)) request_.insert(header.name, header.value);
    }
    request_.set("x-request-id", request.request_id);
    request_.body() = std::move(request.body);
    request_.prepare_payload();
  }

  void start() {
    responder_->on_disconnect([weak = weak_from_this(), &io = io_] {
      asio::post(io, [weak] {
        if (const auto self = weak.lock()) self->socket_.close(self->ignored_);
      });
    });
    error_code error;
    const auto address =
        asio::ip::make_address(endpoint_.host == "localhost" ? "127.0.0.1" : endpoint_.host, error);
    if (error) return refuse();
    socket_.async_connect({address, endpoint_.port}, [self = shared_from_this()](error_code ec) {
      if (ec) return self->refuse();
      self->socket_.set_option(asio::ip::tcp::no_delay(true), self->ignored_);
      http::async_write(self->socket_, self->request_, [self](error_code failed, size_t) {
        if (failed) return self->refuse();
        self->read_header();
      });
    });
  }

 private:
  void refuse() {
    ApiError error;
    error.status = 503;
    error.message = "The cluster that took over cannot be reached at the moment; try again.";
    error.type = "server_error";
    error.code = "unavailable";
    error.retry_after_seconds = 1;
    respond_error(*responder_, error);
  }

  void read_header() {
    http::async_read_header(
        socket_, buffer_, parser_, [self = shared_from_this()](error_code ec, size_t) {
          if (ec) return self->refuse();
          for (const auto& field : self->parser_.get()) {
            const std::string name(field.name_string().data(), field.name_string().size());
            if (travels(name))
              self->headers_.push_back(
                  {name, std::string(field.value().data(), field.value().size())});
          }
          if (self->parser_.chunked())
            self->responder_->begin_stream(self->status(), std::move(self->headers_), {});
          self->read_body();
        });
  }

  void read_body() {
    if (parser_.is_done()) return finish();
    parser_.get().body().data = chunk_.data();
    parser_.get().body().size = chunk_.size();
    parser_.get().body().more = true;
    http::async_read_some(
        socket_, buffer_, parser_, [self = shared_from_this()](error_code ec, size_t) {
          if (ec == http::error::need_buffer) ec = {};
          std::string bytes(self->chunk_.data(),
                            self->chunk_.size() - self->parser_.get().body().size);
          if (!self->parser_.chunked()) {
            self->body_.append(bytes);
          } else if (!bytes.empty()) {
            self->responder_->write(std::move(bytes));
          }
          // Letting go of the responder without an end is how a broken stream is cut.
          if (ec) return self->parser_.chunked() ? void() : self->refuse();
          self->read_body();
        });
  }

  void finish() {
    if (parser_.chunked()) return responder_->finish();
    responder_->respond(status(), std::move(headers_), std::move(body_));
  }
  int status() const { return static_cast<int>(parser_.get().result_int()); }

  asio::io_context& io_;
  asio::ip::tcp::socket socket_;
  const HttpEndpoint endpoint_;
  const std::shared_ptr<HttpResponder> responder_;
  http::request<http::string_body> request_;
  http::response_parser<http::buffer_body> parser_;
  boost::beast::flat_buffer buffer_;
  std::array<char, 16384> chunk_;
  HttpHeaders headers_;
  std::string body_;
  error_code ignored_;
};

class BeastForwarder : public HttpForwarder {
 public:
  explicit BeastForwarder(HttpEndpoint endpoint)
      : endpoint_(std::move(endpoint)), work_(io_.get_executor()), thread_([this] { io_.run(); }) {}
  ~BeastForwarder() override {
    work_.reset();
    io_.stop();
    thread_.join();
  }
  void forward(HttpRequest request, std::shared_ptr<HttpResponder> responder) override {
    auto passage =
        std::make_shared<Passage>(io_, endpoint_, std::move(request), std::move(responder));
    asio::post(io_, [passage = std::move(passage)] { passage->start(); });
  }

 private:
  const HttpEndpoint endpoint_;
  asio::io_context io_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<HttpForwarder> HttpForwarder::create(HttpEndpoint endpoint) {
  return std::make_unique<BeastForwarder>(std::move(endpoint));
}

}  // namespace conclave::coordinator
