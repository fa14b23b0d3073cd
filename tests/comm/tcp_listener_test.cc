// The coordinator's end: strangers, peers that vanish, limits, and its own end.

#include <gtest/gtest.h>

#include <random>
#include <set>

#include "comm/channel/tcp_channel.h"
#include "tests/comm/channel_connection.h"
#include "tests/comm/raw_socket.h"

namespace conclave::comm {
namespace {

// Plays the rank's part of the handshake by hand.
RawSocket authenticated_socket(uint16_t port) {
  RawSocket raw = RawSocket::connect(port);
  RankHandshake handshake("s3cret", make_nonce());
  raw.write(handshake.hello());
  for (bool done = false; !done;) {
    FrameHeader header;
    const Frame frame = raw.read_frame(&header);
    const HandshakeStep step = handshake.on_frame(header, frame.payload);
    EXPECT_TRUE(step.failure.ok()) << step.failure;
    if (!step.failure.ok()) break;
    if (!step.reply.empty()) raw.write(step.reply);
    done = step.done;
  }
  return raw;
}

TEST(TcpListener, GarbageIsClosedAndOthersGoOn) {
  TestListener listener;
  std::mt19937 random(3);
  for (int i = 0; i < 50; ++i) {
    const RawSocket stranger = RawSocket::connect(listener.port());
    std::vector<std::byte> garbage(kFrameHeaderBytes + random() % 3000);
    for (std::byte& b : garbage) b = static_cast<std::byte>(random());
    if (i % 3 == 0) garbage = bytes_of("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    if (i % 3 == 1) garbage = frame_of(static_cast<uint16_t>(random()), garbage);
    stranger.write_while_open(garbage);
    EXPECT_TRUE(stranger.reads_end_of_stream());
  }
  EXPECT_EQ(listener.waiting_peers(), 0u);
  auto [channel, peer] = listener.connect();
  ASSERT_NE(peer, nullptr);
  EXPECT_TRUE(peer->send(1, bytes_of("still here")).ok());
  EXPECT_TRUE(channel->receive(patience()).ok());
}

TEST(TcpListener, AFrameOutOfTurnInTheHandshakeIsClosed) {
  TestListener listener;
  const RawSocket stranger = RawSocket::connect(listener.port());
  stranger.write(frame_of(kProofFrame, make_nonce()));
  EXPECT_TRUE(stranger.reads_end_of_stream());
}

TEST(TcpListener, ASlowHandshakeIsClosedByTheListener) {
  ChannelListener::Options options;
  options.handshake_timeout = std::chrono::milliseconds(50);
  TestListener listener(options);
  const RawSocket slow = RawSocket::connect(listener.port());
  const std::vector<std::byte> hello = frame_of(kHelloFrame, make_nonce());
  slow.write(std::span(hello).first(20));
  EXPECT_TRUE(slow.reads_end_of_stream());
}

TEST(TcpListener, GarbageAfterTheHandshakeClosesThePeerOnce) {
  TestListener listener;
  const RawSocket rank = authenticated_socket(listener.port());
  auto peer = listener.accept();
  ASSERT_NE(peer, nullptr);
  auto recorder = std::make_shared<ChannelRecorder>();
  peer->start(recorder->handlers());
  rank.write(frame_of(5, bytes_of("good")));
  rank.write(bytes_of("these bytes are no frame"));
  ASSERT_TRUE(recorder->wait_for_closed());
  EXPECT_TRUE(rank.reads_end_of_stream());
  EXPECT_EQ(recorder->frames().size(), 1u);
  EXPECT_EQ(recorder->closed_count(), 1);
  EXPECT_EQ(recorder->closed_status().code(), absl::StatusCode::kUnavailable);
}

TEST(TcpListener, APeerThatVanishesInTheMiddleOfAMessageIsReported) {
  TestListener listener;
  for (const bool reset : {false, true}) {
    auto rank = std::make_unique<RawSocket>(authenticated_socket(listener.port()));
    const auto peer = listener.accept();
    ASSERT_NE(peer, nullptr);
    auto recorder = std::make_shared<ChannelRecorder>();
    peer->start(recorder->handlers());
    rank->write(frame_of(5, bytes_of("whole")));
    rank->write(encode_frame_header({kProtocolVersion, 6, kMaxFrameBytes}));
    ASSERT_TRUE(recorder->wait_for_frames(1));
    if (reset) rank->reset_connection();
    rank.reset();
    ASSERT_TRUE(recorder->wait_for_closed());
    EXPECT_EQ(recorder->frames().size(), 1u);
    EXPECT_EQ(recorder->closed_status().code(), absl::StatusCode::kUnavailable);
    // After a reset, the header may be lost with the connection.
    if (!reset) {
      EXPECT_TRUE(mentions(recorder->closed_status(), "in the middle of a message"))
          << recorder->closed_status();
    }
  }
}

TEST(TcpListener, ManyConnectionsAreKeptApart) {
  constexpr int kConnections = 200;
  TestListener listener;
  std::vector<std::unique_ptr<Channel>> channels;
  std::vector<std::unique_ptr<ChannelPeer>> peers;
  std::vector<std::shared_ptr<ChannelRecorder>> recorders;
  std::set<std::string> addresses;
  for (int i = 0; i < kConnections; ++i) {
    auto [channel, peer] = listener.connect();
    ASSERT_NE(peer, nullptr);
    recorders.push_back(std::make_shared<ChannelRecorder>());
    peer->start(recorders.back()->handlers());
    addresses.insert(peer->remote_address());
    channels.push_back(std::move(channel));
    peers.push_back(std::move(peer));
  }
  EXPECT_EQ(addresses.size(), static_cast<size_t>(kConnections));
  for (int i = 0; i < kConnections; ++i) {
    ASSERT_TRUE(channels[i]->send(static_cast<uint16_t>(i), {}, patience()).ok());
    ASSERT_TRUE(peers[i]->send(static_cast<uint16_t>(i), {}).ok());
  }
  for (int i = 0; i < kConnections; ++i) {
    ASSERT_TRUE(recorders[i]->wait_for_frames(1));
    EXPECT_EQ(recorders[i]->frames()[0].type, i);
    const auto frame = channels[i]->receive(patience());
    ASSERT_TRUE(frame.ok());
    EXPECT_EQ(frame->type, i);
  }
}

TEST(TcpListener, ConnectionsOverTheLimitAreRefusedUntilOneEnds) {
  ChannelListener::Options options;
  options.max_connections = 1;
  TestListener listener(options);
  auto [channel, peer] = listener.connect();
  auto recorder = std::make_shared<ChannelRecorder>();
  peer->start(recorder->handlers());
  EXPECT_EQ(connect_channel("127.0.0.1", listener.port(), "s3cret", patience()).status().code(),
            absl::StatusCode::kUnavailable);
  channel.reset();
  ASSERT_TRUE(recorder->wait_for_closed());
  // on_closed runs just before the listener counts the connection as gone.
  absl::Status status = absl::UnavailableError("");
  while (absl::IsUnavailable(status)) {
    status = connect_channel("127.0.0.1", listener.port(), "s3cret", patience()).status();
  }
  EXPECT_TRUE(status.ok()) << status;
}

TEST(TcpListener, ClosingItClosesAllAndPeersMayOutliveIt) {
  auto listener = std::make_unique<TestListener>();
  auto [channel, peer] = listener->connect();
  auto [unstarted_channel, unstarted] = listener->connect();
  const RawSocket in_handshake = RawSocket::connect(listener->port());
  auto recorder = std::make_shared<ChannelRecorder>();
  peer->start(recorder->handlers());
  ASSERT_TRUE(peer->send(1, bytes_of("goodbye")).ok());
  listener.reset();
  EXPECT_EQ(recorder->closed_count(), 1);
  EXPECT_TRUE(in_handshake.reads_end_of_stream());
  EXPECT_TRUE(channel->receive(patience()).ok());
  EXPECT_EQ(channel->receive(patience()).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(unstarted_channel->receive(patience()).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(peer->send(1, {}).code(), absl::StatusCode::kUnavailable);
  peer->close();
  auto late = std::make_shared<ChannelRecorder>();
  unstarted->start(late->handlers());
  EXPECT_EQ(late->closed_count(), 1);
}

TEST(TcpListener, WrongOptionsAreOneSentence) {
  const auto ignore = [](std::unique_ptr<ChannelPeer>) {};
  ChannelListener::Options options;
  EXPECT_EQ(ChannelListener::listen(options, ignore).status().code(),
            absl::StatusCode::kInvalidArgument);
  options.secret = "s";
  options.address = "localhost!";
  EXPECT_EQ(ChannelListener::listen(options, ignore).status().code(),
            absl::StatusCode::kInvalidArgument);
  options.address = "127.0.0.1";
  const RawSocket taken = RawSocket::listen();
  options.port = taken.port();
  const absl::Status status = ChannelListener::listen(options, ignore).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(mentions(status, "127.0.0.1:" + std::to_string(options.port)));
}

}  // namespace
}  // namespace conclave::comm
