// The rank's end: what a coordinator, or something else in its place, can do to it.

#include "comm/channel/tcp_channel.h"

#include <gtest/gtest.h>

#include <future>
#include <set>

#include "tests/comm/channel_connection.h"
#include "tests/comm/raw_socket.h"

namespace conclave::comm {
namespace {

TEST(TcpChannel, AWrongSecretIsUnauthenticatedAndNeverBecomesAPeer) {
  TestListener listener;
  const auto channel = connect_channel("127.0.0.1", listener.port(), "other", patience());
  EXPECT_EQ(channel.status().code(), absl::StatusCode::kUnauthenticated) << channel.status();
  EXPECT_TRUE(mentions(channel.status(), "127.0.0.1:" + std::to_string(listener.port())));
  EXPECT_EQ(listener.waiting_peers(), 0u);
  EXPECT_NE(listener.connect().second, nullptr);  // others are not affected
}

TEST(TcpChannel, AListenerWithoutTheSecretIsUnauthenticated) {
  const RawSocket impostor = RawSocket::listen();
  auto connecting = std::async(std::launch::async, [&] {
    return connect_channel("127.0.0.1", impostor.port(), "s3cret", patience());
  });
  const RawSocket rank = impostor.accept();
  EXPECT_EQ(rank.read_frame().type, kHelloFrame);
  rank.write(frame_of(kChallengeFrame, make_nonce()));
  const Frame proof = rank.read_frame();
  EXPECT_EQ(proof.type, kProofFrame);
  // The best that who does not know the secret can do is to send the proof back.
  rank.write(frame_of(kWelcomeFrame, proof.payload));
  EXPECT_EQ(connecting.get().status().code(), absl::StatusCode::kUnauthenticated);
}

TEST(TcpChannel, ARankOfAnotherVersionIsToldBothVersions) {
  TestListener listener;
  const RawSocket rank = RawSocket::connect(listener.port());
  rank.write(frame_of(kHelloFrame, make_nonce(), 77));
  FrameHeader header;
  const Frame answer = rank.read_frame(&header);
  EXPECT_EQ(answer.type, kRejectFrame);
  EXPECT_EQ(header.version, kProtocolVersion);
  const std::string text = text_of(answer.payload);
  EXPECT_NE(text.find("version 77, this program version 2"), std::string::npos) << text;
  EXPECT_TRUE(rank.reads_end_of_stream());
}

TEST(TcpChannel, ACoordinatorOfAnotherVersionIsAFailedPrecondition) {
  const RawSocket coordinator = RawSocket::listen();
  auto connecting = std::async(std::launch::async, [&] {
    return connect_channel("127.0.0.1", coordinator.port(), "s3cret", patience());
  });
  const RawSocket rank = coordinator.accept();
  EXPECT_EQ(rank.read_frame().type, kHelloFrame);
  rank.write(frame_of(kRejectFrame, bytes_of("whatever version 78 says"), 78));
  const absl::Status status = connecting.get().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_TRUE(mentions(status, "speaks protocol version 78, this program version 2")) << status;
}

TEST(TcpChannel, SomethingElseThanACoordinatorIsAnInvalidArgument) {
  const RawSocket web_server = RawSocket::listen();
  auto connecting = std::async(std::launch::async, [&] {
    return connect_channel("127.0.0.1", web_server.port(), "s3cret", patience());
  });
  const RawSocket rank = web_server.accept();
  rank.write(bytes_of("HTTP/1.1 400 Bad Request\r\n\r\n"));
  EXPECT_EQ(connecting.get().status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(TcpChannel, AListenerThatNeverAnswersEndsAtTheDeadline) {
  const RawSocket silent = RawSocket::listen();
  const auto channel =
      connect_channel("127.0.0.1", silent.port(), "s3cret", Deadline::after_ms(30));
  EXPECT_EQ(channel.status().code(), absl::StatusCode::kDeadlineExceeded) << channel.status();
  EXPECT_TRUE(mentions(channel.status(), "handshake: no answer after"));
}

TEST(TcpChannel, NobodyListeningIsTriedUntilTheDeadline) {
  const RawSocket reserved = RawSocket::reserve_port();
  const uint16_t port = reserved.port();
  const auto channel = connect_channel("127.0.0.1", port, "s3cret", Deadline::after_ms(50));
  EXPECT_EQ(channel.status().code(), absl::StatusCode::kDeadlineExceeded) << channel.status();
  EXPECT_TRUE(mentions(channel.status(), "onnection refused")) << channel.status();
}

TEST(TcpChannel, ARankMayStartBeforeTheCoordinatorListens) {
  const RawSocket reserved = RawSocket::reserve_port();
  const uint16_t port = reserved.port();
  auto connecting = std::async(std::launch::async, [port] {
    return connect_channel("127.0.0.1", port, "s3cret", patience());
  });
  ChannelListener::Options options;
  options.port = port;
  TestListener listener(options);
  EXPECT_EQ(listener.port(), port);
  EXPECT_TRUE(connecting.get().ok());
  EXPECT_NE(listener.accept(), nullptr);
}

TEST(TcpChannel, AnUnknownHostIsNotFound) {
  const auto channel = connect_channel("no such host", 1, "s3cret", Deadline::after_ms(50));
  EXPECT_EQ(channel.status().code(), absl::StatusCode::kNotFound) << channel.status();
}

TEST(TcpChannel, ASendThatThePeerDoesNotTakeEndsAtItsDeadlineAndClosesTheStream) {
  const RawSocket coordinator = RawSocket::listen();
  auto connecting = std::async(std::launch::async, [&] {
    return connect_channel("127.0.0.1", coordinator.port(), "s3cret", patience());
  });
  const RawSocket rank = coordinator.accept();
  CoordinatorHandshake handshake("s3cret", make_nonce());
  for (bool done = false; !done;) {
    FrameHeader header;
    const Frame frame = rank.read_frame(&header);
    const HandshakeStep step = handshake.on_frame(header, frame.payload);
    ASSERT_TRUE(step.failure.ok()) << step.failure;
    rank.write(step.reply);
    done = step.done;
  }
  auto channel = connecting.get();
  ASSERT_TRUE(channel.ok()) << channel.status();
  const std::vector<std::byte> large(64'000'000);
  const absl::Status status = (*channel)->send(1, large, Deadline::after_ms(50));
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
  EXPECT_TRUE(mentions(status, "half a message")) << status;
  EXPECT_EQ((*channel)->send(1, {}, patience()).code(), absl::StatusCode::kUnavailable);
}

TEST(GroupSecret, IsSixtyFourHexDigitsAndNeverTheSame) {
  std::set<std::string> secrets;
  for (int i = 0; i < 100; ++i) {
    const std::string secret = make_group_secret();
    EXPECT_EQ(secret.size(), 64u);
    EXPECT_EQ(secret.find_first_not_of("0123456789abcdef"), std::string::npos);
    secrets.insert(secret);
  }
  EXPECT_EQ(secrets.size(), 100u);
}

}  // namespace
}  // namespace conclave::comm
