#ifndef CONCLAVE_TESTS_COMM_CHANNEL_CONNECTION_H_
#define CONCLAVE_TESTS_COMM_CHANNEL_CONNECTION_H_

#include <gtest/gtest.h>

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "comm/channel/tcp_channel.h"
#include "tests/comm/channel_recorder.h"

namespace conclave::comm {

// A listener on a free loopback port, and the peers of its connections in the order they came.
class TestListener {
 public:
  explicit TestListener(ChannelListener::Options options = {}) {
    if (options.secret.empty()) options.secret = "s3cret";
    auto listener = ChannelListener::listen(options, [this](std::unique_ptr<ChannelPeer> peer) {
      std::lock_guard lock(mutex_);
      peers_.push_back(std::move(peer));
      changed_.notify_all();
    });
    EXPECT_TRUE(listener.ok()) << listener.status();
    if (listener.ok()) listener_ = *std::move(listener);
  }
  ~TestListener() { close(); }
  void close() { listener_.reset(); }
  uint16_t port() const { return listener_->port(); }

  // Null when the patience ends first.
  std::unique_ptr<ChannelPeer> accept() {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, kPatience, [this] { return !peers_.empty(); })) return nullptr;
    auto peer = std::move(peers_.front());
    peers_.pop_front();
    return peer;
  }
  size_t waiting_peers() {
    std::lock_guard lock(mutex_);
    return peers_.size();
  }
  std::pair<std::unique_ptr<Channel>, std::unique_ptr<ChannelPeer>> connect() {
    auto channel = connect_channel("127.0.0.1", port(), "s3cret", patience());
    EXPECT_TRUE(channel.ok()) << channel.status();
    if (!channel.ok()) return {};
    return {*std::move(channel), accept()};
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::unique_ptr<ChannelPeer>> peers_;
  std::unique_ptr<ChannelListener> listener_;
};

}  // namespace conclave::comm

#endif  // CONCLAVE_TESTS_COMM_CHANNEL_CONNECTION_H_
