#include <boost/asio/buffer.hpp>
#include <utility>

#include "base/log.h"
#include "coordinator/http/connection.h"
#include "coordinator/http/error_response.h"

// The half of a connection that writes: answers, streams, and what follows an answer.

namespace conclave::coordinator {
namespace {

constexpr int64_t kLingerNs = 2'000'000'000;
constexpr size_t kKeptBytes = 4096;

}  // namespace

// ---- answering
// -----------------------------------------------------------------------------------------

bool Connection::is_current(uint64_t seq) const {
  return state_ == State::kAnswering && seq == seq_ && answer_ != Answer::kComplete;
}

void Connection::respond(uint64_t seq, int status, const HttpHeaders& headers, std::string body) {
  if (!is_current(seq) || answer_ != Answer::kNone) return;
  keep_alive_ = keep_alive_ && !host_->stopping.load();
  exchange_.status = status;
  pending_.append(render_head({status, &headers, request_id_, BodyFraming::kContentLength,
                               body.size(), keep_alive_, http_minor_, &cors_headers_}));
  if (!head_only_) pending_.append(body);
  complete_answer();
}

void Connection::begin_stream(uint64_t seq, int status, const HttpHeaders& headers,
                              HttpHeartbeat heartbeat) {
  if (!is_current(seq) || answer_ != Answer::kNone) return;
  answer_ = Answer::kStreaming;
  exchange_.status = status;
  framing_ = http_minor_ == 0 ? BodyFraming::kUntilClose : BodyFraming::kChunked;
  keep_alive_ = keep_alive_ && framing_ == BodyFraming::kChunked && !host_->stopping.load();
  pending_.append(render_head(
      {status, &headers, request_id_, framing_, 0, keep_alive_, http_minor_, &cors_headers_}));
  heartbeat_ = std::move(heartbeat);
  if (heartbeat_.period.count() > 0) heartbeat_ns_ = steady_now_ns() + to_ns(heartbeat_.period);
  flush();
}

void Connection::respond_from(uint64_t seq, int status, const HttpHeaders& headers,
                              HttpBodySource source) {
  if (!is_current(seq) || answer_ != Answer::kNone) return;
  if (!head_only_) source_ = std::move(source);
  begin_stream(seq, status, headers, {});
  if (head_only_) finish(seq);
}

// Everything is written: what comes next.
void Connection::pull() {
  std::string piece;
  const bool more = source_(&piece);
  append_stream(piece);
  if (more && !piece.empty()) return flush();
  source_ = nullptr;
  finish(seq_);
}

void Connection::append_stream(std::string_view chunk) {
  if (head_only_) return;
  if (framing_ == BodyFraming::kChunked) {
    append_chunk(&pending_, chunk);
  } else {
    pending_.append(chunk);
  }
}

void Connection::write(uint64_t seq, std::string_view chunk) {
  if (!is_current(seq) || answer_ != Answer::kStreaming) return;
  append_stream(chunk);
  if (heartbeat_.period.count() > 0) {
    heartbeat_ns_.store(steady_now_ns() + to_ns(heartbeat_.period), std::memory_order_relaxed);
  }
  flush();
  if (state_ != State::kClosed &&
      pending_.size() + writing_.size() - written_ > host_->options.max_stream_queue_bytes) {
    log_warning("a streaming client reads too slowly and was dropped",
                {{"request_id", request_id_}});
    disconnect();
  }
}

void Connection::finish(uint64_t seq) {
  if (!is_current(seq) || answer_ != Answer::kStreaming) return;
  if (framing_ == BodyFraming::kChunked && !head_only_) pending_.append(kLastChunk);
  complete_answer();
}

void Connection::complete_answer() {
  answer_ = Answer::kComplete;
  on_disconnect_ = nullptr;
  heartbeat_ns_ = 0;
  heartbeat_ = {};
  report_exchange();
  flush();
}

void Connection::set_on_disconnect(uint64_t seq, std::function<void()> callback) {
  if (is_current(seq)) {
    on_disconnect_ = std::move(callback);
  } else if (state_ == State::kClosed && seq == seq_ && answer_ != Answer::kComplete) {
    callback();
  }
}

void Connection::abandon(uint64_t seq) {
  if (!is_current(seq) || source_) return;  // a source goes on by itself
  if (answer_ == Answer::kStreaming) {
    // Without its last chunk the stream is cut, as far as the client can tell.
    keep_alive_ = false;
    return complete_answer();
  }
  ApiError error;
  error.status = 500;
  error.message = "The server failed to answer this request.";
  error.type = "server_error";
  error.code = "internal_error";
  respond(seq, error.status, {{"Content-Type", "application/json"}}, error_json(error));
}

// An answer of our own to something that is no usable request; the connection ends with it.
// request_id_ is set.
void Connection::send_error(ApiError error) {
  parser_.abandon();
  body_share_.reset();
  HttpRequest nameless;
  nameless.request_id = request_id_;
  nameless.keep_alive = false;
  begin_exchange(nameless);
  respond(seq_, error.status, headers_of(error), error_json(error));
}

// ---- writing
// -------------------------------------------------------------------------------------------

void Connection::flush() {
  // Inside the handler nothing is sent, so that an immediate answer is one write.
  if (write_active_ || in_handler_ || state_ == State::kClosed) return;
  if (pending_.empty()) {
    // A stream without a last chunk may end when everything is written already.
    if (state_ == State::kAnswering && answer_ == Answer::kComplete) on_answer_written();
    return;
  }
  writing_.clear();
  std::swap(writing_, pending_);
  written_ = 0;
  start_write();
}

void Connection::start_write() {
  write_active_ = true;
  deadline_ns_.store(steady_now_ns() + to_ns(host_->options.write_timeout),
                     std::memory_order_relaxed);
  socket_.async_write_some(
      boost::asio::buffer(writing_.data() + written_, writing_.size() - written_),
      [self = shared_from_this()](boost::system::error_code error, size_t bytes) {
        self->on_write(error, bytes);
      });
}

void Connection::on_write(boost::system::error_code error, size_t bytes) {
  write_active_ = false;
  if (state_ == State::kClosed) return;
  if (error) return disconnect();
  written_ += bytes;
  if (written_ < writing_.size()) return start_write();
  writing_.clear();
  written_ = 0;
  if (!pending_.empty()) return flush();
  if (source_) return pull();
  // Nothing is owed to the client: the write deadline gives way to that of the state.
  if (state_ == State::kAnswering) {
    deadline_ns_.store(0, std::memory_order_relaxed);
    if (answer_ == Answer::kComplete) on_answer_written();
  } else if (state_ == State::kReading) {  // "100 Continue"
    deadline_ns_ = steady_now_ns() + to_ns(host_->options.body_timeout);
  }
}

void Connection::on_answer_written() {
  if (!keep_alive_ || read_ended_ || host_->stopping.load()) return linger();
  state_ = State::kReading;
  answer_ = Answer::kNone;
  release_idle_memory();
  if (parser_.buffered_bytes() > 0) {
    deadline_ns_ = steady_now_ns() + to_ns(host_->options.header_timeout);
  } else {
    set_read_deadline();
  }
  parser_.next();
  advance();
}

// A long answer does not keep its memory while the client says nothing.
void Connection::release_idle_memory() {
  cors_headers_.clear();
  for (std::string* buffer : {&pending_, &writing_}) {
    if (buffer->capacity() > kKeptBytes) std::string().swap(*buffer);
  }
}

void Connection::linger() {
  state_ = State::kLingering;
  boost::system::error_code ignored;
  socket_.shutdown(boost::asio::socket_base::shutdown_send, ignored);
  if (read_ended_) return disconnect();
  deadline_ns_ = steady_now_ns() + kLingerNs;
  start_read();
}

}  // namespace conclave::coordinator
