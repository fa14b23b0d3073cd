#include "coordinator/http/client/http_client.h"

#include <array>
#include <boost/asio/connect.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <thread>

#include "absl/strings/str_cat.h"
#include "coordinator/http/client/sse_splitter.h"

namespace conclave::coordinator {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;

struct Exchange {
  std::string method, path, body;
  std::function<void(std::string_view)> on_event;
  std::function<void(HttpAnswer)> on_done;
};

// The way back to the I/O thread for threads that may outlive it.
class Gate {
 public:
  explicit Gate(asio::io_context& io) : io_(&io) {}
  void close() {
    const std::lock_guard lock(mutex_);
    io_ = nullptr;
  }
  void post(std::function<void()> task) {
    const std::lock_guard lock(mutex_);
    if (io_ != nullptr) asio::post(*io_, std::move(task));
  }

 private:
  std::mutex mutex_;
  asio::io_context* io_;
};

// One request from connect to the last byte. Keeps itself alive through its handlers.
class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(asio::io_context& io, std::shared_ptr<Gate> gate, const HttpClient::Options& options, Exchange exchange)
      : socket_(io), timer_(io), gate_(std::move(gate)), options_(options), exchange_(std::move(exchange)),
        splitter_([this](std::string_view data) {
          if (exchange_.on_event) exchange_.on_event(data);
        }) {
    parser_.body_limit(boost::none);
  }

  void start() {
    timer_.expires_after(options_.timeout);
    timer_.async_wait([self = shared_from_this()](error_code ec) {
      if (!ec) self->fail(absl::DeadlineExceededError("no complete answer within the client's time limit"));
    });
    const HttpEndpoint& endpoint = options_.endpoint;
    if (!endpoint.socket_path.empty()) return connect(asio::local::stream_protocol::endpoint(endpoint.socket_path));
    error_code not_numeric;
    const auto address = asio::ip::make_address(endpoint.host == "localhost" ? "127.0.0.1" : endpoint.host, not_numeric);
    if (!not_numeric) return connect(asio::ip::tcp::endpoint(address, endpoint.port));
    look_up();
  }

 private:
  void connect(const asio::generic::stream_protocol::endpoint& target) {
    socket_.async_connect(target, [self = shared_from_this()](error_code ec) {
      if (ec) return self->fail_with("cannot connect to", ec);
      self->write();
    });
  }

  void look_up() {
    look_up_host(options_.resolver, options_.endpoint.host, [gate = gate_, weak = weak_from_this()](absl::StatusOr<std::string> found) {
      gate->post([weak, found = std::move(found)] {
        if (const auto self = weak.lock()) self->looked_up(found);
      });
    });
  }
  void looked_up(const absl::StatusOr<std::string>& found) {
    if (done_) return;
    if (!found.ok()) return fail(found.status());
    error_code error;
    const auto address = asio::ip::make_address(*found, error);
    if (error) return fail(absl::InvalidArgumentError(absl::StrCat(*found, " is no address of ", options_.endpoint.host)));
    connect(asio::ip::tcp::endpoint(address, options_.endpoint.port));
  }

  void write() {
    socket_.set_option(asio::ip::tcp::no_delay(true), ignored_);
    request_.method_string(exchange_.method);
    request_.target(exchange_.path);
    request_.version(11);
    request_.set(http::field::host, options_.endpoint.socket_path.empty()
                                        ? absl::StrCat(options_.endpoint.host, ":", options_.endpoint.port)
                                        : std::string("localhost"));
    request_.set(http::field::connection, "close");
    if (!options_.api_key.empty()) request_.set(http::field::authorization, "Bearer " + options_.api_key);
    if (!exchange_.body.empty()) request_.set(http::field::content_type, "application/json");
    request_.body() = std::move(exchange_.body);
    request_.prepare_payload();
    http::async_write(socket_, request_, [self = shared_from_this()](error_code ec, size_t) {
      if (ec) return self->fail_with("cannot send to", ec);
      self->read_header();
    });
  }

  void read_header() {
    http::async_read_header(socket_, buffer_, parser_, [self = shared_from_this()](error_code ec, size_t) {
      if (ec) return self->fail_with("no answer from", ec);
      self->answer_.status = self->parser_.get().result_int();
      const auto type = self->parser_.get()[http::field::content_type];
      self->is_stream_ = std::string_view(type.data(), type.size()).starts_with("text/event-stream");
      self->read_body();
    });
  }

  void read_body() {
    if (parser_.is_done()) return finish();
    parser_.get().body().data = chunk_.data();
    parser_.get().body().size = chunk_.size();
    parser_.get().body().more = true;
    http::async_read_some(socket_, buffer_, parser_, [self = shared_from_this()](error_code ec, size_t) {
      if (ec == http::error::need_buffer) ec = {};
      const std::string_view bytes(self->chunk_.data(), self->chunk_.size() - self->parser_.get().body().size);
      if (self->done_) return;
      if (self->is_stream_) {
        self->splitter_.feed(bytes);
      } else {
        self->answer_.body.append(bytes);
      }
      if (ec) return self->fail_with("the answer broke off from", ec);
      self->read_body();
    });
  }

  void fail_with(const char* what, error_code ec) {
    fail(absl::UnavailableError(absl::StrCat(what, " ", to_string(options_.endpoint), ": ", ec.message())));
  }
  void fail(absl::Status status) {
    answer_.error = std::move(status);
    finish();
  }
  void finish() {
    if (done_) return;
    done_ = true;
    timer_.cancel();
    socket_.close(ignored_);
    exchange_.on_done(std::move(answer_));
  }

  asio::generic::stream_protocol::socket socket_;
  asio::steady_timer timer_;
  const std::shared_ptr<Gate> gate_;
  const HttpClient::Options& options_;
  Exchange exchange_;
  SseSplitter splitter_;
  http::request<http::string_body> request_;
  http::response_parser<http::buffer_body> parser_;
  boost::beast::flat_buffer buffer_;
  std::array<char, 16384> chunk_;
  HttpAnswer answer_;
  error_code ignored_;
  bool is_stream_ = false;
  bool done_ = false;
};

class BeastClient : public HttpClient {
 public:
  explicit BeastClient(Options options) : options_(std::move(options)), work_(io_.get_executor()), thread_([this] { io_.run(); }) {}
  ~BeastClient() override {
    gate_->close();
    work_.reset();
    io_.stop();
    thread_.join();
  }
  void send(std::string method, std::string path, std::string body, std::function<void(std::string_view)> on_event,
            std::function<void(HttpAnswer)> on_done) override {
    Exchange exchange{std::move(method), std::move(path), std::move(body), std::move(on_event), std::move(on_done)};
    asio::post(io_, [this, exchange = std::move(exchange)]() mutable {
      std::make_shared<Session>(io_, gate_, options_, std::move(exchange))->start();
    });
  }

 private:
  Options options_;
  asio::io_context io_{1};
  const std::shared_ptr<Gate> gate_ = std::make_shared<Gate>(io_);
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  std::thread thread_;
};

}  // namespace

absl::StatusOr<HttpEndpoint> parse_http_endpoint(std::string_view url) {
  std::string_view rest = url;
  const auto bad = [&] {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", std::string(url), "\" is no endpoint; expected http://HOST:PORT or unix:PATH"));
  };
  if (rest.starts_with("unix:")) {
    rest.remove_prefix(5);
    if (rest.empty() || rest.size() > 107) return bad();
    return HttpEndpoint{"", 0, std::string(rest)};
  }
  if (!rest.starts_with("http://")) return bad();
  rest.remove_prefix(7);
  rest = rest.substr(0, rest.find('/'));
  const size_t colon = rest.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return bad();
  const int port = std::atoi(std::string(rest.substr(colon + 1)).c_str());
  if (port < 1 || port > 65535) return bad();
  return HttpEndpoint{std::string(rest.substr(0, colon)), static_cast<uint16_t>(port), ""};
}

std::string to_string(const HttpEndpoint& endpoint) {
  if (!endpoint.socket_path.empty()) return "unix:" + endpoint.socket_path;
  return absl::StrCat("http://", endpoint.host, ":", endpoint.port);
}

std::unique_ptr<HttpClient> HttpClient::create(Options options) { return std::make_unique<BeastClient>(std::move(options)); }

HttpAnswer HttpClient::call(const std::string& method, const std::string& path, const std::string& body) {
  std::mutex mutex;
  std::condition_variable changed;
  std::optional<HttpAnswer> result;
  send(method, path, body, nullptr, [&](HttpAnswer answer) {
    std::lock_guard lock(mutex);
    result = std::move(answer);
    changed.notify_all();
  });
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return result.has_value(); });
  return std::move(*result);
}

}  // namespace conclave::coordinator
