#include "comm/channel/local_channel.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <thread>

#include "base/status_macros.h"
#include "comm/channel/stream_socket.h"
#include "comm/channel/wire_frame.h"

namespace conclave::comm {
namespace {

constexpr size_t kMaxQueuedBytes = size_t{256} << 20;  // in each direction

struct FrameQueue {
  std::deque<Frame> frames;
  size_t bytes = 0;

  // A frame that alone is larger than the limit passes when nothing else waits.
  bool has_room(size_t more) const { return frames.empty() || bytes + more <= kMaxQueuedBytes; }
  void push(uint16_t type, std::vector<std::byte> payload) {
    bytes += payload.size();
    frames.push_back(Frame{type, std::move(payload)});
  }
  Frame pop() {
    Frame frame = std::move(frames.front());
    frames.pop_front();
    bytes -= frame.payload.size();
    return frame;
  }
};

// Guarded by `mutex`, which is never held while a handler runs.
struct Connection {
  std::mutex mutex;
  std::condition_variable changed;
  FrameQueue to_rank;
  FrameQueue to_peer;
  bool rank_closed = false;
  bool peer_closed = false;
  bool peer_destroyed = false;
};

class LocalChannel final : public Channel {
 public:
  explicit LocalChannel(std::shared_ptr<Connection> connection)
      : connection_(std::move(connection)) {}
  ~LocalChannel() override { LocalChannel::close(); }

  absl::Status send(uint16_t type, std::span<const std::byte> payload, Deadline deadline) override {
    RETURN_IF_ERROR(check_sendable(type, payload.size()));
    std::unique_lock lock(connection_->mutex);
    const bool ready = connection_->changed.wait_until(lock, deadline.time(), [&] {
      return connection_->rank_closed || connection_->peer_closed ||
             connection_->to_peer.has_room(payload.size());
    });
    if (!ready) {
      return absl::DeadlineExceededError("the local coordinator does not take data " +
                                         deadline_text(deadline));
    }
    if (connection_->rank_closed || connection_->peer_closed) return gone();
    connection_->to_peer.push(type, {payload.begin(), payload.end()});
    connection_->changed.notify_all();
    return absl::OkStatus();
  }

  absl::StatusOr<Frame> receive(Deadline deadline) override {
    std::unique_lock lock(connection_->mutex);
    connection_->changed.wait_until(lock, deadline.time(), [this] {
      return connection_->rank_closed || connection_->peer_closed ||
             !connection_->to_rank.frames.empty();
    });
    if (connection_->rank_closed) return gone();
    if (!connection_->to_rank.frames.empty()) return connection_->to_rank.pop();
    if (connection_->peer_closed) return gone();
    return absl::DeadlineExceededError("no message from the local coordinator " +
                                       deadline_text(deadline));
  }

  void close() override {
    std::lock_guard lock(connection_->mutex);
    connection_->rank_closed = true;
    connection_->changed.notify_all();
  }

 private:
  absl::Status gone() const {
    return absl::UnavailableError(connection_->rank_closed
                                      ? "the local channel was closed on this side"
                                      : "the local coordinator closed the channel");
  }
  std::shared_ptr<Connection> connection_;
};

// The callbacks' thread; holds the connection itself, because the peer may be destroyed by a
// callback.
void run_peer(const std::shared_ptr<Connection>& connection,
              const ChannelPeer::Handlers& handlers) {
  std::unique_lock lock(connection->mutex);
  while (true) {
    connection->changed.wait(lock, [&] {
      return connection->peer_closed || connection->rank_closed ||
             !connection->to_peer.frames.empty();
    });
    if (connection->peer_closed || connection->to_peer.frames.empty()) break;
    Frame frame = connection->to_peer.pop();
    connection->changed.notify_all();
    lock.unlock();
    handlers.on_frame(std::move(frame));
    lock.lock();
  }
  const bool closed_here = connection->peer_closed;
  const bool destroyed = connection->peer_destroyed;
  connection->peer_closed = true;
  connection->changed.notify_all();
  lock.unlock();
  if (destroyed) return;
  handlers.on_closed(closed_here ? absl::OkStatus()
                                 : absl::UnavailableError("the local rank closed the channel"));
}

class LocalPeer final : public ChannelPeer {
 public:
  explicit LocalPeer(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {}
  ~LocalPeer() override {
    {
      std::lock_guard lock(connection_->mutex);
      connection_->peer_closed = connection_->peer_destroyed = true;
      connection_->changed.notify_all();
    }
    if (!thread_.joinable()) return;
    if (thread_.get_id() == std::this_thread::get_id()) {
      thread_.detach();
    } else {
      thread_.join();
    }
  }

  void start(Handlers handlers) override {
    // The thread begins by taking the mutex: it cannot destroy this object before thread_ is set.
    const std::shared_ptr<Connection> connection = connection_;
    std::lock_guard lock(connection->mutex);
    thread_ = std::thread(
        [connection, handlers = std::move(handlers)] { run_peer(connection, handlers); });
  }

  absl::Status send(uint16_t type, std::vector<std::byte> payload) override {
    RETURN_IF_ERROR(check_sendable(type, payload.size()));
    std::lock_guard lock(connection_->mutex);
    if (connection_->peer_closed || connection_->rank_closed) {
      return absl::UnavailableError("the local channel is closed");
    }
    if (!connection_->to_rank.has_room(payload.size())) {
      return absl::ResourceExhaustedError("the local rank leaves more than " +
                                          std::to_string(kMaxQueuedBytes) + " bytes unread");
    }
    connection_->to_rank.push(type, std::move(payload));
    connection_->changed.notify_all();
    return absl::OkStatus();
  }

  void close() override {
    std::lock_guard lock(connection_->mutex);
    connection_->peer_closed = true;
    connection_->changed.notify_all();
  }
  std::string remote_address() const override { return "local"; }

 private:
  std::shared_ptr<Connection> connection_;
  std::thread thread_;
};

}  // namespace

std::pair<std::unique_ptr<Channel>, std::unique_ptr<ChannelPeer>> make_local_channel() {
  auto connection = std::make_shared<Connection>();
  return {std::make_unique<LocalChannel>(connection), std::make_unique<LocalPeer>(connection)};
}

}  // namespace conclave::comm
