#ifndef CONCLAVE_COMM_CHANNEL_TCP_SESSION_H_
#define CONCLAVE_COMM_CHANNEL_TCP_SESSION_H_

// The coordinator's side of one TCP connection, from accept to close: a state machine of callbacks
// on the listener's I/O thread. Kept alive by its pending operations, the listener and the peer.

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "comm/channel/channel.h"
#include "comm/channel/handshake.h"
#include "comm/channel/wire_frame.h"

namespace conclave::comm {

class TcpSession : public std::enable_shared_from_this<TcpSession> {
 public:
  // After close(), frames that are queued get this long to go out.
  static constexpr std::chrono::milliseconds kLinger{1000};

  struct Settings {
    std::string secret;
    std::chrono::milliseconds handshake_timeout{0};
    size_t max_queued_bytes = 0;
    std::function<void(std::shared_ptr<TcpSession>)> on_authenticated;  // I/O thread, at most once
    std::function<void(TcpSession*)> on_finished;                       // I/O thread, once
  };
  // owner keeps the I/O context of the socket alive.
  TcpSession(std::shared_ptr<void> owner, boost::asio::ip::tcp::socket socket, Settings settings);

  // I/O thread.
  void begin_handshake();
  // A session before its handshake's end is dropped at once, others end as by close().
  void stop();

  // Any thread; the peer's functions of the same names.
  void start(ChannelPeer::Handlers handlers);
  absl::Status send(uint16_t type, std::vector<std::byte> payload);
  void close();
  // The peer is being destroyed: no handler runs after this returned, except those that are running
  // on the calling thread.
  void detach();
  const std::string& remote_address() const { return remote_; }

 private:
  enum class State { kHandshake, kOpen, kClosing, kFinished };
  struct OutgoingFrame {
    FrameHeaderBytes header;
    std::vector<std::byte> payload;
  };

  // All of these run on the I/O thread.
  void read_handshake();
  void on_handshake_frame();
  void authenticated();
  void read_frames();
  void on_bytes(size_t bytes);
  void write_next();
  void begin_close();
  void shut_down_sending();
  void refuse(const absl::Status& why);
  void finish(const absl::Status& why);
  void deliver(Frame frame);
  void deliver_closed(const absl::Status& why);

  const std::shared_ptr<void> owner_;  // first: outlives the socket
  Settings settings_;
  std::string remote_;

  // Of the I/O thread.
  boost::asio::ip::tcp::socket socket_;
  boost::asio::steady_timer timer_;
  State state_ = State::kHandshake;
  FrameDecoder decoder_{kMaxHandshakePayloadBytes};
  CoordinatorHandshake handshake_;
  HandshakeStep step_;
  bool reading_ = false;

  // Guarded by mutex_, which is held while posting too: after finished_ nothing may be posted,
  // because the I/O thread may be gone.
  std::mutex mutex_;
  std::deque<OutgoingFrame> queue_;
  size_t queued_bytes_ = 0;
  bool writing_ = false;
  bool accepts_sends_ = true;
  bool finished_ = false;
  absl::Status finish_status_;

  // Held while a handler runs; recursive, so that a handler may destroy the peer.
  std::recursive_mutex handler_mutex_;
  std::shared_ptr<const ChannelPeer::Handlers> handlers_;
  bool detached_ = false;
  bool closed_delivered_ = false;
};

}  // namespace conclave::comm

#endif  // CONCLAVE_COMM_CHANNEL_TCP_SESSION_H_
