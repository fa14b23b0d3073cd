#include "comm/channel/tcp_session.h"

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <utility>

#include "base/log.h"
#include "base/status_macros.h"
#include "comm/channel/stream_socket.h"
#include "comm/channel/tcp_channel.h"

namespace conclave::comm {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

std::string address_of(const asio::ip::tcp::socket& socket) {
  error_code error;
  const auto endpoint = socket.remote_endpoint(error);
  if (error) return "unknown";
  const bool v6 = endpoint.address().is_v6();
  const std::string address = endpoint.address().to_string();
  return (v6 ? "[" + address + "]" : address) + ":" + std::to_string(endpoint.port());
}

absl::Status broken(const std::string& remote, const error_code& error, bool in_message) {
  if (error == asio::error::eof && !in_message) {
    return absl::UnavailableError(remote + " closed the connection");
  }
  return absl::UnavailableError("the connection to " + remote + " broke" +
                                (in_message ? " in the middle of a message: " : ": ") +
                                error.message());
}

}  // namespace

TcpSession::TcpSession(std::shared_ptr<void> owner, asio::ip::tcp::socket socket, Settings settings)
    : owner_(std::move(owner)),
      settings_(std::move(settings)),
      remote_(address_of(socket)),
      socket_(std::move(socket)),
      timer_(socket_.get_executor()),
      handshake_(settings_.secret, make_nonce()) {}

void TcpSession::begin_handshake() {
  set_channel_socket_options(socket_.native_handle());
  timer_.expires_after(settings_.handshake_timeout);
  timer_.async_wait([self = shared_from_this()](const error_code& error) {
    if (error || self->state_ != State::kHandshake) return;
    self->refuse(absl::DeadlineExceededError(
        "no handshake within " + std::to_string(self->settings_.handshake_timeout.count()) +
        " ms"));
  });
  read_handshake();
}

void TcpSession::refuse(const absl::Status& why) {
  log_warning("control connection refused",
              {{"peer", remote_}, {"reason", std::string(why.message())}});
  finish(why);
}

void TcpSession::read_handshake() {
  const std::span<std::byte> space = decoder_.space();
  socket_.async_read_some(asio::buffer(space.data(), space.size()),
                          [self = shared_from_this()](const error_code& error, size_t bytes) {
                            if (self->state_ != State::kHandshake) return;
                            if (error) return self->refuse(broken(self->remote_, error, false));
                            const absl::StatusOr<bool> complete = self->decoder_.commit(bytes);
                            if (!complete.ok()) return self->refuse(complete.status());
                            if (*complete) return self->on_handshake_frame();
                            self->read_handshake();
                          });
}

void TcpSession::on_handshake_frame() {
  const FrameHeader header = decoder_.header();
  step_ = handshake_.on_frame(header, decoder_.take().payload);
  if (step_.reply.empty()) return refuse(step_.failure);
  asio::async_write(socket_, asio::buffer(step_.reply.data(), step_.reply.size()),
                    [self = shared_from_this()](const error_code& error, size_t) {
                      if (self->state_ != State::kHandshake) return;
                      if (!self->step_.failure.ok()) return self->refuse(self->step_.failure);
                      if (error) return self->refuse(broken(self->remote_, error, false));
                      if (self->step_.done) return self->authenticated();
                      self->read_handshake();
                    });
}

void TcpSession::authenticated() {
  state_ = State::kOpen;
  timer_.cancel();
  decoder_.set_max_payload_bytes(kMaxFrameBytes);
  settings_.on_authenticated(shared_from_this());
}

void TcpSession::start(ChannelPeer::Handlers handlers) {
  auto shared = std::make_shared<const ChannelPeer::Handlers>(std::move(handlers));
  {
    std::lock_guard lock(handler_mutex_);
    handlers_ = std::move(shared);
  }
  std::unique_lock lock(mutex_);
  if (!finished_) {
    asio::post(socket_.get_executor(), [self = shared_from_this()] {
      if (self->state_ == State::kOpen && !self->reading_) self->read_frames();
    });
    return;
  }
  const absl::Status why = finish_status_;
  lock.unlock();
  deliver_closed(why);
}

void TcpSession::read_frames() {
  reading_ = true;
  const std::span<std::byte> space = decoder_.space();
  socket_.async_read_some(
      asio::buffer(space.data(), space.size()),
      [self = shared_from_this()](const error_code& error, size_t bytes) {
        if (self->state_ == State::kFinished) return;
        if (!error) return self->on_bytes(bytes);
        self->finish(self->state_ == State::kClosing
                         ? absl::OkStatus()
                         : broken(self->remote_, error, !self->decoder_.at_boundary()));
      });
}

void TcpSession::on_bytes(size_t bytes) {
  const absl::StatusOr<bool> complete = decoder_.commit(bytes);
  if (!complete.ok() || (*complete && decoder_.header().version != kProtocolVersion)) {
    const absl::Status why = complete.ok()
                                 ? absl::InvalidArgumentError("a frame has another version")
                                 : complete.status();
    log_warning("control connection closed after bytes that are no message",
                {{"peer", remote_}, {"reason", std::string(why.message())}});
    return finish(absl::UnavailableError(remote_ + ": " + std::string(why.message())));
  }
  if (*complete) deliver(decoder_.take());
  if (state_ != State::kFinished) read_frames();
}

absl::Status TcpSession::send(uint16_t type, std::vector<std::byte> payload) {
  RETURN_IF_ERROR(check_sendable(type, payload.size()));
  const FrameHeader header{kProtocolVersion, type, static_cast<uint32_t>(payload.size())};
  const size_t bytes = kFrameHeaderBytes + payload.size();
  std::lock_guard lock(mutex_);
  if (!accepts_sends_) return absl::UnavailableError("the connection to " + remote_ + " is closed");
  if (queued_bytes_ + bytes > settings_.max_queued_bytes) {
    return absl::ResourceExhaustedError(remote_ + " leaves " + std::to_string(queued_bytes_) +
                                        " bytes unread; a message of " + std::to_string(bytes) +
                                        " more would exceed the limit of " +
                                        std::to_string(settings_.max_queued_bytes));
  }
  queued_bytes_ += bytes;
  queue_.push_back(OutgoingFrame{encode_frame_header(header), std::move(payload)});
  if (!writing_) {
    writing_ = true;
    asio::post(socket_.get_executor(), [self = shared_from_this()] { self->write_next(); });
  }
  return absl::OkStatus();
}

// Precondition: writing_ is set. The front frame stays in the queue, at the same address, until it
// is out.
void TcpSession::write_next() {
  if (state_ == State::kFinished) return;
  std::array<asio::const_buffer, 2> buffers;
  {
    std::lock_guard lock(mutex_);
    writing_ = !queue_.empty();
    if (writing_) {
      const OutgoingFrame& frame = queue_.front();
      buffers = {asio::buffer(frame.header),
                 asio::buffer(frame.payload.data(), frame.payload.size())};
    }
  }
  if (buffers[0].size() == 0) {
    if (state_ == State::kClosing) shut_down_sending();
    return;
  }
  asio::async_write(socket_, buffers, [self = shared_from_this()](const error_code& error, size_t) {
    if (self->state_ == State::kFinished) return;
    if (error) {
      return self->finish(self->state_ == State::kClosing ? absl::OkStatus()
                                                          : broken(self->remote_, error, false));
    }
    {
      std::lock_guard lock(self->mutex_);
      self->queued_bytes_ -= kFrameHeaderBytes + self->queue_.front().payload.size();
      self->queue_.pop_front();
    }
    self->write_next();
  });
}

void TcpSession::close() {
  std::lock_guard lock(mutex_);
  if (!accepts_sends_) return;
  accepts_sends_ = false;
  asio::post(socket_.get_executor(), [self = shared_from_this()] { self->begin_close(); });
}

void TcpSession::stop() {
  if (state_ == State::kHandshake) return finish(absl::UnavailableError("the listener was closed"));
  close();
}

void TcpSession::begin_close() {
  if (state_ != State::kOpen) return;
  state_ = State::kClosing;
  timer_.expires_after(kLinger);
  timer_.async_wait([self = shared_from_this()](const error_code& error) {
    if (!error) self->finish(absl::OkStatus());
  });
  // Reading goes on and discards: closing with unread bytes would reset the connection and could
  // take from the peer what was sent to it last.
  if (!reading_) read_frames();
  bool idle = false;
  {
    std::lock_guard lock(mutex_);
    idle = !writing_;
  }
  if (idle) shut_down_sending();
}

void TcpSession::shut_down_sending() {
  error_code ignored;
  socket_.shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
}

void TcpSession::finish(const absl::Status& why) {
  if (state_ == State::kFinished) return;
  const bool had_peer = state_ != State::kHandshake;
  const std::shared_ptr<TcpSession> self = shared_from_this();
  state_ = State::kFinished;
  timer_.cancel();
  error_code ignored;
  socket_.close(ignored);
  {
    std::lock_guard lock(mutex_);
    accepts_sends_ = false;
    finished_ = true;
    finish_status_ = why;
  }
  if (had_peer) deliver_closed(why);
  settings_.on_finished(this);
}

void TcpSession::deliver(Frame frame) {
  std::lock_guard lock(handler_mutex_);
  if (detached_ || handlers_ == nullptr || state_ != State::kOpen) return;
  {
    // close() may have been called by another thread a moment ago.
    std::lock_guard queue_lock(mutex_);
    if (!accepts_sends_) return;
  }
  const std::shared_ptr<const ChannelPeer::Handlers> handlers = handlers_;
  handlers->on_frame(std::move(frame));
}

void TcpSession::deliver_closed(const absl::Status& why) {
  std::lock_guard lock(handler_mutex_);
  if (detached_ || handlers_ == nullptr || closed_delivered_) return;
  closed_delivered_ = true;
  const std::shared_ptr<const ChannelPeer::Handlers> handlers = handlers_;
  handlers->on_closed(why);
}

void TcpSession::detach() {
  std::shared_ptr<const ChannelPeer::Handlers> dropped;
  {
    std::lock_guard lock(handler_mutex_);
    detached_ = true;
    dropped = std::move(handlers_);
  }
  close();
}

}  // namespace conclave::comm
