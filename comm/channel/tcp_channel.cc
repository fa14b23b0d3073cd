// The rank's end of a control connection.

#include "comm/channel/tcp_channel.h"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <utility>

#include "base/status_macros.h"
#include "comm/channel/handshake.h"
#include "comm/channel/stream_socket.h"
#include "comm/channel/wire_frame.h"

namespace conclave::comm {
namespace {

class TcpChannel final : public Channel {
 public:
  TcpChannel(StreamSocket socket, std::string peer)
      : socket_(std::move(socket)), peer_(std::move(peer)), decoder_(kMaxFrameBytes) {}

  absl::Status send(uint16_t type, std::span<const std::byte> payload, Deadline deadline) override {
    RETURN_IF_ERROR(check_sendable(type, payload.size()));
    if (!begin_sending(deadline)) {
      return absl::DeadlineExceededError("another message to the " + peer_ + " is not out yet " +
                                         deadline_text(deadline));
    }
    size_t written = 0;
    const FrameHeaderBytes header =
        encode_frame_header({kProtocolVersion, type, static_cast<uint32_t>(payload.size())});
    absl::Status status =
        closed_ ? closed_error() : socket_.write_all(header, payload, deadline, &written);
    if (!status.ok()) status = explain_send(status, written, deadline);
    end_sending();
    return status;
  }

  absl::StatusOr<Frame> receive(Deadline deadline) override {
    RETURN_IF_ERROR(receive_failure_);
    while (true) {
      if (closed_) return closed_error();
      const absl::StatusOr<size_t> bytes = socket_.read_some(decoder_.space(), deadline);
      if (!bytes.ok()) return explain_receive(bytes.status(), deadline);
      const absl::StatusOr<bool> complete = decoder_.commit(*bytes);
      if (!complete.ok()) {
        receive_failure_ =
            absl::InvalidArgumentError(peer_ + ": " + std::string(complete.status().message()));
        socket_.interrupt();
        return receive_failure_;
      }
      if (*complete) return decoder_.take();
    }
  }

  void close() override {
    closed_ = true;
    socket_.interrupt();
  }

 private:
  absl::Status closed_error() const {
    return absl::UnavailableError("the connection to the " + peer_ + " was closed on this side");
  }

  bool begin_sending(const Deadline& deadline) {
    std::unique_lock lock(mutex_);
    if (!not_sending_.wait_until(lock, deadline.time(), [this] { return !sending_; })) return false;
    sending_ = true;
    return true;
  }

  void end_sending() {
    {
      std::lock_guard lock(mutex_);
      sending_ = false;
    }
    not_sending_.notify_one();
  }

  absl::Status explain_send(const absl::Status& status, size_t written, const Deadline& deadline) {
    if (closed_ || absl::IsCancelled(status)) return closed_error();
    if (!absl::IsDeadlineExceeded(status)) {
      return absl::Status(status.code(), peer_ + ": " + std::string(status.message()));
    }
    std::string text = "the " + peer_ + " does not take data " + deadline_text(deadline);
    if (written != 0) {
      // Nothing that follows half a frame would have a meaning.
      socket_.interrupt();
      text += "; the connection is closed because half a message is out";
    }
    return absl::DeadlineExceededError(text);
  }

  absl::Status explain_receive(const absl::Status& status, const Deadline& deadline) const {
    if (closed_ || absl::IsCancelled(status)) return closed_error();
    if (absl::IsDeadlineExceeded(status)) {
      return absl::DeadlineExceededError("no message from the " + peer_ + " " +
                                         deadline_text(deadline));
    }
    std::string text = peer_ + ": " + std::string(status.message());
    if (!decoder_.at_boundary()) text += " in the middle of a message";
    return absl::Status(status.code(), text);
  }

  StreamSocket socket_;
  const std::string peer_;
  std::atomic<bool> closed_{false};
  FrameDecoder decoder_;          // of the receiving thread
  absl::Status receive_failure_;  // of the receiving thread
  std::mutex mutex_;
  std::condition_variable not_sending_;
  bool sending_ = false;
};

absl::Status shake_hands(StreamSocket* socket, const std::string& secret,
                         const Deadline& deadline) {
  RankHandshake handshake(secret, make_nonce());
  size_t written = 0;
  RETURN_IF_ERROR(socket->write_all(handshake.hello(), {}, deadline, &written));
  FrameDecoder decoder(kMaxHandshakePayloadBytes);
  while (true) {
    ASSIGN_OR_RETURN(const size_t bytes, socket->read_some(decoder.space(), deadline));
    ASSIGN_OR_RETURN(const bool complete, decoder.commit(bytes));
    if (!complete) continue;
    const FrameHeader header = decoder.header();
    const HandshakeStep step = handshake.on_frame(header, decoder.take().payload);
    RETURN_IF_ERROR(step.failure);
    if (!step.reply.empty()) {
      RETURN_IF_ERROR(socket->write_all(step.reply, {}, deadline, &written));
    }
    if (step.done) return absl::OkStatus();
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Channel>> connect_channel(const std::string& host, uint16_t port,
                                                         const std::string& secret,
                                                         Deadline deadline) {
  const std::string peer = "coordinator at " + host + ":" + std::to_string(port);
  absl::StatusOr<StreamSocket> socket = StreamSocket::connect(host, port, deadline);
  if (!socket.ok()) {
    return absl::Status(socket.status().code(),
                        peer + ": " + std::string(socket.status().message()));
  }
  if (absl::Status status = shake_hands(&*socket, secret, deadline); !status.ok()) {
    std::string text = peer + ": handshake: ";
    text += absl::IsDeadlineExceeded(status) ? "no answer " + deadline_text(deadline)
                                             : std::string(status.message());
    return absl::Status(status.code(), text);
  }
  return std::make_unique<TcpChannel>(*std::move(socket), peer);
}

}  // namespace conclave::comm
