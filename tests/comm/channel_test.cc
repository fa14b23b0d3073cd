// What every kind of channel promises, for the local and the TCP one.

#include "comm/channel/channel.h"

#include <gtest/gtest.h>

#include <future>
#include <random>
#include <thread>

#include "comm/channel/local_channel.h"
#include "tests/comm/channel_connection.h"

namespace conclave::comm {
namespace {

enum class Kind { kLocal, kTcp };

class ChannelContract : public testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    if (GetParam() == Kind::kLocal) {
      std::tie(channel_, peer_) = make_local_channel();
    } else {
      listener_ = std::make_unique<TestListener>();
      std::tie(channel_, peer_) = listener_->connect();
    }
    ASSERT_NE(channel_, nullptr);
    ASSERT_NE(peer_, nullptr);
  }
  std::unique_ptr<TestListener> listener_;
  std::unique_ptr<Channel> channel_;
  std::unique_ptr<ChannelPeer> peer_;
  std::shared_ptr<ChannelRecorder> recorder_ = std::make_shared<ChannelRecorder>();
};

INSTANTIATE_TEST_SUITE_P(Kinds, ChannelContract, testing::Values(Kind::kLocal, Kind::kTcp),
                         [](const auto& info) {
                           return info.param == Kind::kLocal ? "Local" : "Tcp";
                         });

TEST_P(ChannelContract, DeliversFramesInOrderBothWays) {
  peer_->start(recorder_->handlers());
  for (int i = 0; i < 500; ++i) {
    const std::vector<std::byte> payload = bytes_of(std::string(static_cast<size_t>(i % 50), 'x'));
    ASSERT_TRUE(channel_->send(static_cast<uint16_t>(i), payload, patience()).ok());
    ASSERT_TRUE(peer_->send(static_cast<uint16_t>(i), payload).ok());
  }
  for (int i = 0; i < 500; ++i) {
    const auto frame = channel_->receive(patience());
    ASSERT_TRUE(frame.ok()) << frame.status();
    EXPECT_EQ(frame->type, i);
    EXPECT_EQ(frame->payload.size(), static_cast<size_t>(i % 50));
  }
  ASSERT_TRUE(recorder_->wait_for_frames(500));
  for (int i = 0; i < 500; ++i) EXPECT_EQ(recorder_->frames()[i].type, i);
}

TEST_P(ChannelContract, CarriesLargeFramesBothWays) {
  peer_->start(recorder_->handlers());
  std::vector<std::byte> large(20'000'000);
  std::mt19937 random(7);
  for (std::byte& b : large) b = static_cast<std::byte>(random());
  ASSERT_TRUE(peer_->send(1, large).ok());
  auto sending =
      std::async(std::launch::async, [&] { return channel_->send(2, large, patience()); });
  const auto frame = channel_->receive(patience());
  ASSERT_TRUE(frame.ok()) << frame.status();
  EXPECT_TRUE(frame->payload == large);
  EXPECT_TRUE(sending.get().ok());
  ASSERT_TRUE(recorder_->wait_for_frames(1));
  EXPECT_TRUE(recorder_->frames()[0].payload == large);
}

TEST_P(ChannelContract, FramesOfSeveralSendersStayWhole) {
  peer_->start(recorder_->handlers());
  std::vector<std::thread> senders;
  for (int s = 0; s < 4; ++s) {
    senders.emplace_back([this, s] {
      const std::string text(20'000, static_cast<char>('a' + s));
      for (int i = 0; i < 50; ++i) {
        EXPECT_TRUE(channel_->send(static_cast<uint16_t>(s), bytes_of(text), patience()).ok());
      }
    });
  }
  for (std::thread& sender : senders) sender.join();
  ASSERT_TRUE(recorder_->wait_for_frames(200));
  for (const Frame& frame : recorder_->frames()) {
    EXPECT_EQ(text_of(frame.payload), std::string(20'000, static_cast<char>('a' + frame.type)));
  }
}

TEST_P(ChannelContract, ReceiveEndsAtItsDeadlineAndGoesOnLater) {
  peer_->start(recorder_->handlers());
  const auto nothing = channel_->receive(Deadline::after_ms(20));
  EXPECT_EQ(nothing.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_NE(std::string(nothing.status().message()).find("(deadline 0.020 s)"), std::string::npos)
      << nothing.status();
  ASSERT_TRUE(peer_->send(3, bytes_of("late")).ok());
  const auto frame = channel_->receive(patience());
  ASSERT_TRUE(frame.ok()) << frame.status();
  EXPECT_EQ(text_of(frame->payload), "late");
}

TEST_P(ChannelContract, FramesSentBeforeTheRankClosesArriveAndThenOnClosedOnce) {
  peer_->start(recorder_->handlers());
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(channel_->send(1, bytes_of("x"), patience()).ok());
  channel_.reset();
  ASSERT_TRUE(recorder_->wait_for_closed());
  EXPECT_EQ(recorder_->frames().size(), 20u);
  EXPECT_EQ(recorder_->closed_status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(peer_->send(1, {}).code(), absl::StatusCode::kUnavailable);
  peer_->close();
  peer_.reset();
  EXPECT_EQ(recorder_->closed_count(), 1);
}

TEST_P(ChannelContract, FramesSentBeforeThePeerClosesArriveAndThenUnavailable) {
  peer_->start(recorder_->handlers());
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(peer_->send(1, std::vector<std::byte>(100'000)).ok());
    // Unread bytes on the peer's side must not cost the rank its frames.
    ASSERT_TRUE(channel_->send(1, bytes_of("health"), patience()).ok());
  }
  peer_->close();
  EXPECT_EQ(peer_->send(1, {}).code(), absl::StatusCode::kUnavailable);
  for (int i = 0; i < 20; ++i) {
    const auto frame = channel_->receive(patience());
    ASSERT_TRUE(frame.ok()) << i << ": " << frame.status();
    EXPECT_EQ(frame->payload.size(), 100'000u);
  }
  EXPECT_EQ(channel_->receive(patience()).status().code(), absl::StatusCode::kUnavailable);
  channel_.reset();
  ASSERT_TRUE(recorder_->wait_for_closed());
  EXPECT_TRUE(recorder_->closed_status().ok()) << recorder_->closed_status();
}

TEST_P(ChannelContract, CloseWakesAReceiveOfAnotherThread) {
  auto receiving = std::async(std::launch::async, [&] { return channel_->receive(patience()); });
  channel_->close();
  EXPECT_EQ(receiving.get().status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(channel_->receive(patience()).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(channel_->send(1, {}, patience()).code(), absl::StatusCode::kUnavailable);
}

TEST_P(ChannelContract, AHandlerMaySendCloseAndDestroyThePeer) {
  std::promise<void> destroyed;
  auto on_frame = [&](Frame frame) {
    EXPECT_TRUE(peer_->send(9, std::move(frame.payload)).ok());
    peer_->close();
    peer_.reset();
    destroyed.set_value();
  };
  peer_->start({on_frame, [](absl::Status) {}});
  ASSERT_TRUE(channel_->send(1, bytes_of("echo"), patience()).ok());
  const auto frame = channel_->receive(patience());
  ASSERT_TRUE(frame.ok()) << frame.status();
  EXPECT_EQ(text_of(frame->payload), "echo");
  EXPECT_EQ(channel_->receive(patience()).status().code(), absl::StatusCode::kUnavailable);
  destroyed.get_future().wait();
}

TEST_P(ChannelContract, NoHandlerRunsAfterThePeerIsDestroyed) {
  auto alive = std::make_unique<std::atomic<int>>(0);
  std::atomic<int>* counter = alive.get();
  peer_->start({[counter](Frame) { ++*counter; }, [counter](absl::Status) { ++*counter; }});
  auto sending = std::async(std::launch::async, [&] {
    absl::Status status;
    while (status.ok()) status = channel_->send(1, bytes_of("x"), patience());
    return status;
  });
  while (counter->load() == 0) std::this_thread::yield();
  peer_.reset();
  alive.reset();  // a later call would touch freed memory, which the sanitizer builds see
  EXPECT_EQ(sending.get().code(), absl::StatusCode::kUnavailable);
}

TEST_P(ChannelContract, ThreadsMayCloseWhileOthersSend) {
  peer_->start(recorder_->handlers());
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([this] {
      while (peer_->send(1, bytes_of("x")).ok()) std::this_thread::yield();
    });
  }
  threads.emplace_back([this] {
    for (int i = 0; i < 100; ++i) EXPECT_TRUE(channel_->receive(patience()).ok());
    channel_->close();
  });
  threads.emplace_back([this] {
    EXPECT_TRUE(recorder_->wait_for_closed());
    peer_->close();
  });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(recorder_->closed_count(), 1);
}

TEST_P(ChannelContract, StartAfterTheRankIsGoneStillReportsItOnce) {
  ASSERT_TRUE(channel_->send(4, bytes_of("last words"), patience()).ok());
  channel_.reset();
  peer_->start(recorder_->handlers());
  ASSERT_TRUE(recorder_->wait_for_closed());
  ASSERT_EQ(recorder_->frames().size(), 1u);
  EXPECT_EQ(text_of(recorder_->frames()[0].payload), "last words");
  EXPECT_FALSE(recorder_->frame_after_closed());
}

TEST_P(ChannelContract, RefusesReservedTypesAndOversizedFrames) {
  EXPECT_EQ(channel_->send(0xff01, {}, patience()).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(peer_->send(0xff01, {}).code(), absl::StatusCode::kInvalidArgument);
  const std::byte one{};
  // Only the size is looked at before the refusal.
  const std::span<const std::byte> huge(&one, size_t{kMaxFrameBytes} + 1);
  EXPECT_EQ(channel_->send(1, huge, patience()).code(), absl::StatusCode::kInvalidArgument);
}

TEST_P(ChannelContract, ASendQueueThatIsFullIsAnError) {
  const std::vector<std::byte> piece(size_t{32} << 20);
  absl::Status status;
  int sent = 0;
  for (; status.ok() && sent < 100; ++sent) status = peer_->send(1, piece);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_GT(sent, 7);
  // Reading makes room again.
  const auto frame = channel_->receive(patience());
  ASSERT_TRUE(frame.ok()) << frame.status();
  EXPECT_EQ(frame->payload.size(), piece.size());
}

}  // namespace
}  // namespace conclave::comm
