#include "coordinator/http/connection.h"

#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <exception>
#include <utility>

#include "base/log.h"
#include "coordinator/http/connection_responder.h"

namespace conclave::coordinator {
namespace {

constexpr size_t kReadBytes = 16 << 10;
constexpr size_t kMaxPipelinedBytes = 16 << 10;
constexpr size_t kMaxLingerBytes = 64 << 20;

ApiError no_memory_for_bodies() {
  ApiError error;
  error.status = 503;
  error.message =
      "The server holds as many bytes of request bodies as it allows; try again shortly.";
  error.type = "server_error";
  error.code = "overloaded";
  error.retry_after_seconds = 1;
  return error;
}

}  // namespace

int64_t steady_now_ns() {
  return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Connection::Connection(Socket socket, std::shared_ptr<ConnectionHost> host)
    : host_(std::move(host)),
      socket_(std::move(socket)),
      parser_(host_->options.max_header_bytes, host_->options.max_body_bytes) {}

Connection::~Connection() { leave_host(); }

void Connection::leave_host() {
  std::lock_guard lock(host_->mutex);
  if (host_->open.erase(this) != 0) host_->connection_closed.notify_all();
}

void Connection::begin() {
  boost::asio::dispatch(socket_.get_executor(), [self = shared_from_this()] {
    // Now, while the client has most likely not half-closed its end: then nobody could tell its
    // user.
    self->peer_ =
        identify_peer(self->socket_.native_handle(), self->host_->options.identify_peer_users);
    self->set_read_deadline();
    self->start_read();
  });
}

void Connection::refuse() {
  boost::asio::dispatch(socket_.get_executor(), [self = shared_from_this()] {
    ApiError error;
    error.status = 503;
    error.message = "The server has as many connections as it allows; try again shortly.";
    error.type = "server_error";
    error.code = "overloaded";
    error.retry_after_seconds = 1;
    self->request_id_ = choose_request_id("");
    self->send_error(std::move(error));
  });
}

void Connection::tick(int64_t now_ns) {
  const int64_t deadline = deadline_ns_.load(std::memory_order_relaxed);
  const int64_t heartbeat = heartbeat_ns_.load(std::memory_order_relaxed);
  if ((deadline == 0 || now_ns < deadline) && (heartbeat == 0 || now_ns < heartbeat)) return;
  boost::asio::post(socket_.get_executor(),
                    [self = shared_from_this()] { self->check_deadlines(steady_now_ns()); });
}

void Connection::begin_shutdown() {
  boost::asio::post(socket_.get_executor(), [self = shared_from_this()] {
    if (self->state_ == State::kReading && !self->parser_.started()) self->disconnect();
  });
}

void Connection::close_now() {
  boost::asio::post(socket_.get_executor(), [self = shared_from_this()] { self->disconnect(); });
}

// ---- reading
// -------------------------------------------------------------------------------------------

// Waits before it has a place for what comes: an idle connection holds no buffer.
void Connection::start_read() {
  if (reading_ || read_ended_ || state_ == State::kClosed) return;
  if (state_ == State::kAnswering && parser_.buffered_bytes() > kMaxPipelinedBytes) return;
  reading_ = true;
  socket_.async_wait(
      Socket::wait_read,
      [self = shared_from_this()](boost::system::error_code error) { self->on_readable(error); });
}

void Connection::on_readable(boost::system::error_code error) {
  reading_ = false;
  if (state_ == State::kClosed) return;
  char chunk[kReadBytes];
  size_t bytes = 0;
  if (!error) bytes = socket_.read_some(boost::asio::buffer(chunk), error);
  if (error == boost::asio::error::would_block) return start_read();
  if (error) return on_read_end(error == boost::asio::error::eof);
  on_bytes({chunk, bytes});
}

void Connection::on_bytes(std::string_view data) {
  if (state_ == State::kLingering) {
    lingered_bytes_ += data.size();
    if (lingered_bytes_ > kMaxLingerBytes) return disconnect();
    return start_read();
  }
  const bool first_byte = state_ == State::kReading && !parser_.started();
  if (first_byte) deadline_ns_ = steady_now_ns() + to_ns(host_->options.header_timeout);
  parser_.feed(data);
  if (state_ == State::kAnswering) return start_read();
  advance();
}

void Connection::on_read_end(bool clean) {
  read_ended_ = true;
  // With the whole answer queued, or finished and written as the client takes it, a client that
  // only closed its sending side still gets it.
  const bool finished = answer_ == Answer::kComplete || static_cast<bool>(source_);
  if (clean && state_ == State::kAnswering && finished) {
    keep_alive_ = false;
    return;
  }
  if (clean && state_ == State::kReading && parser_.started()) {
    request_id_ = parser_.request_id();
    return send_error(bad_request("The connection was closed before the request was complete.",
                                  std::nullopt, "incomplete_request"));
  }
  disconnect();
}

// Looks at what the parser has after a feed or at the start of a request.
void Connection::advance() {
  switch (parser_.state()) {
    case RequestParser::State::kFailed:
      return answer_parse_error();
    case RequestParser::State::kHead:
      return on_head();
    case RequestParser::State::kBody:
      return on_body();
    case RequestParser::State::kDone:
      return dispatch_request();
    case RequestParser::State::kHeader:
      break;
  }
  start_read();
}

// Nothing of the body is kept, or asked for with "100 Continue", before it is wanted.
void Connection::on_head() {
  HttpRequest& request = parser_.request();
  request.peer = peer_;
  cors_headers_ = host_->options.cors.answer_headers(request);
  if (answer_from_head(request)) return;
  if (parser_.framing().has_body()) {
    deadline_ns_ = steady_now_ns() + to_ns(host_->options.body_timeout);
    body_share_ = std::make_shared<BodyShare>(host_->bodies);
  }
  parser_.accept_body();
  advance();
}

void Connection::on_body() {
  if (!body_share_->grow_to(parser_.body_bytes())) {
    request_id_ = parser_.request_id();
    return send_error(no_memory_for_bodies());
  }
  if (parser_.take_expect_continue()) {
    pending_.append("HTTP/1.1 100 Continue\r\n\r\n");
    flush();
  }
  start_read();
}

// True if the request needs no look at its body.
bool Connection::answer_from_head(HttpRequest& request) {
  const HttpServerOptions& options = host_->options;
  if (!options.cors.empty() && CorsPolicy::is_preflight(request)) {
    cors_headers_ = options.cors.preflight_headers(request);
    answer_head(204, {}, "");
    return true;
  }
  std::optional<ApiError> refusal;
  if (options.guard) refusal = options.guard(request);
  // One that is too large whatever others hold is a 413, which no client sends again.
  const uint64_t length = parser_.framing().content_length;
  if (!refusal && length <= options.max_body_bytes && !host_->bodies->has_room(length))
    refusal = no_memory_for_bodies();
  if (!refusal) return false;
  answer_head(refusal->status, headers_of(*refusal), error_json(*refusal));
  return true;
}

// The connection goes on only if no body follows the head.
void Connection::answer_head(int status, const HttpHeaders& headers, std::string body) {
  begin_exchange(parser_.request());
  if (parser_.framing().has_body()) {
    keep_alive_ = false;
    parser_.abandon();
  } else {
    parser_.accept_body();
  }
  respond(seq_, status, headers, std::move(body));
  if (state_ == State::kAnswering) start_read();
}

void Connection::answer_parse_error() {
  request_id_ = parser_.request_id();
  send_error(parser_.error());
}

void Connection::begin_exchange(const HttpRequest& request) {
  state_ = State::kAnswering;
  answer_ = Answer::kNone;
  deadline_ns_ = 0;
  ++seq_;
  request_ns_ = steady_now_ns();
  exchange_ = {request.method, request.path, 0, 0};
  request_id_ = request.request_id;
  head_only_ = request.method == "HEAD";
  http_minor_ = request.http_minor;
  keep_alive_ = request.keep_alive;
}

void Connection::dispatch_request() {
  HttpRequest request = parser_.take();
  if (body_share_ != nullptr) {
    // The last bytes came with the end of the body and were not counted yet.
    if (!body_share_->grow_to(request.body.size())) {
      request_id_ = request.request_id;
      return send_error(no_memory_for_bodies());
    }
    request.body_share = std::exchange(body_share_, nullptr);
  }
  begin_exchange(request);
  in_handler_ = true;
  call_handler(std::move(request));
  in_handler_ = false;
  flush();
  if (state_ == State::kAnswering) start_read();
}

void Connection::call_handler(HttpRequest request) {
  const uint64_t seq = seq_;
  auto responder = std::make_shared<ConnectionResponder>(shared_from_this(), seq);
  try {
    host_->handler(std::move(request), std::move(responder));
  } catch (const std::exception& failure) {
    log_error("an HTTP handler failed", {{"path", exchange_.path}, {"reason", failure.what()}});
    abandon(seq);
  }
}

void Connection::set_read_deadline() {
  deadline_ns_ = steady_now_ns() + to_ns(host_->options.idle_timeout);
}

// ---- endings
// -------------------------------------------------------------------------------------------

void Connection::check_deadlines(int64_t now_ns) {
  if (state_ == State::kClosed) return;
  const int64_t heartbeat = heartbeat_ns_.load();
  if (heartbeat != 0 && now_ns >= heartbeat && answer_ == Answer::kStreaming) {
    heartbeat_ns_ = now_ns + to_ns(heartbeat_.period);
    append_stream(heartbeat_.chunk);
    flush();
  }
  const int64_t deadline = deadline_ns_.load();
  if (deadline == 0 || now_ns < deadline) return;
  if (state_ == State::kReading && parser_.started()) {
    request_id_ = parser_.request_id();
    ApiError error = bad_request("The request did not arrive in time.", std::nullopt, "timeout");
    error.status = 408;
    return send_error(std::move(error));
  }
  disconnect();
}

void Connection::report_exchange() {
  if (!host_->options.on_exchange) return;
  exchange_.seconds = static_cast<double>(steady_now_ns() - request_ns_) * 1e-9;
  host_->options.on_exchange(exchange_);
}

void Connection::disconnect() {
  if (state_ == State::kClosed) return;
  if (state_ == State::kAnswering && answer_ != Answer::kComplete) {
    if (exchange_.status == 0) exchange_.status = 499;
    report_exchange();
  }
  state_ = State::kClosed;
  source_ = nullptr;
  deadline_ns_ = 0;
  heartbeat_ns_ = 0;
  boost::system::error_code ignored;
  socket_.close(ignored);
  leave_host();
  if (auto callback = std::exchange(on_disconnect_, nullptr)) callback();
}

}  // namespace conclave::coordinator
