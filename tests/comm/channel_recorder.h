#ifndef CONCLAVE_TESTS_COMM_CHANNEL_RECORDER_H_
#define CONCLAVE_TESTS_COMM_CHANNEL_RECORDER_H_

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "comm/channel/channel.h"

namespace conclave::comm {

inline constexpr std::chrono::seconds kPatience{60};  // for what must happen
inline Deadline patience() { return Deadline::after(kPatience); }

inline std::vector<std::byte> bytes_of(std::string_view text) {
  const auto* begin = reinterpret_cast<const std::byte*>(text.data());
  return {begin, begin + text.size()};
}
inline std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// What a ChannelPeer's handlers were called with; shared with the handlers, waits instead of
// sleeping.
class ChannelRecorder : public std::enable_shared_from_this<ChannelRecorder> {
 public:
  ChannelPeer::Handlers handlers() {
    auto self = shared_from_this();
    return {[self](Frame frame) { self->add(std::move(frame)); },
            [self](absl::Status why) { self->add_closed(std::move(why)); }};
  }
  // False when the patience ends first.
  bool wait_for_frames(size_t count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] { return frames_.size() >= count; });
  }
  bool wait_for_closed() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, [&] { return closed_count_ > 0; });
  }
  std::vector<Frame> frames() const {
    std::lock_guard lock(mutex_);
    return frames_;
  }
  int closed_count() const {
    std::lock_guard lock(mutex_);
    return closed_count_;
  }
  absl::Status closed_status() const {
    std::lock_guard lock(mutex_);
    return closed_status_;
  }
  bool frame_after_closed() const {
    std::lock_guard lock(mutex_);
    return frame_after_closed_;
  }

 private:
  void add(Frame frame) {
    std::lock_guard lock(mutex_);
    frame_after_closed_ = frame_after_closed_ || closed_count_ > 0;
    frames_.push_back(std::move(frame));
    changed_.notify_all();
  }
  void add_closed(absl::Status why) {
    std::lock_guard lock(mutex_);
    ++closed_count_;
    closed_status_ = std::move(why);
    changed_.notify_all();
  }
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Frame> frames_;
  int closed_count_ = 0;
  absl::Status closed_status_;
  bool frame_after_closed_ = false;
};

}  // namespace conclave::comm

#endif  // CONCLAVE_TESTS_COMM_CHANNEL_RECORDER_H_
