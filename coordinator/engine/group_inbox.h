#ifndef CONCLAVE_COORDINATOR_ENGINE_GROUP_INBOX_H_
#define CONCLAVE_COORDINATOR_ENGINE_GROUP_INBOX_H_

// What the channels' I/O threads hand to the engine's thread.

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "comm/channel/channel.h"

namespace conclave::coordinator {

struct NewConnection {
  int64_t incarnation = 0;
  std::unique_ptr<comm::ChannelPeer> peer;
};
struct ConnectionFrame {
  uint64_t connection = 0;
  comm::Frame frame;
};
struct ConnectionClosed {
  uint64_t connection = 0;
  absl::Status why;
};
using GroupMail = std::variant<NewConnection, ConnectionFrame, ConnectionClosed>;

// Thread-safe. Shared with the callbacks of channels, which may outlive the group.
class GroupInbox {
 public:
  // ring is called after each put(), on the putting thread.
  explicit GroupInbox(std::function<void()> ring) : ring_(std::move(ring)) {}
  void put(GroupMail mail) {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    mail_.push_back(std::move(mail));
    ring_();
  }
  std::vector<GroupMail> take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(mail_, {});
  }
  // Nothing is kept and nobody is rung from now on.
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }

 private:
  std::mutex mutex_;
  std::function<void()> ring_;
  bool closed_ = false;
  std::vector<GroupMail> mail_;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ENGINE_GROUP_INBOX_H_
