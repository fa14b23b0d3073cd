#include "comm/channel/wire_frame.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "comm/channel/handshake.h"
#include "comm/channel/tcp_channel.h"
#include "tests/comm/channel_recorder.h"

namespace conclave::comm {
namespace {

TEST(WireFrame, TheHeaderLayoutNeverChanges) {
  EXPECT_EQ(kFrameHeaderBytes, 12u);
  EXPECT_EQ(kProtocolVersion, 2);
  EXPECT_EQ(kMaxFrameBytes, 1u << 30);
  const FrameHeaderBytes bytes = encode_frame_header({0x0102, 0x0304, 0x05060708});
  EXPECT_EQ(text_of(bytes), "CNCL\x02\x01\x04\x03\x08\x07\x06\x05");
}

TEST(WireFrame, HeadersRoundTrip) {
  std::mt19937 random(1);
  for (int i = 0; i < 100; ++i) {
    const FrameHeader header{static_cast<uint16_t>(random()), static_cast<uint16_t>(random()),
                             static_cast<uint32_t>(random() % kMaxFrameBytes)};
    const auto decoded = decode_frame_header(encode_frame_header(header), kMaxFrameBytes);
    ASSERT_TRUE(decoded.ok());
    EXPECT_EQ(decoded->version, header.version);
    EXPECT_EQ(decoded->type, header.type);
    EXPECT_EQ(decoded->length, header.length);
  }
}

TEST(WireFrame, ForeignBytesAndOversizedLengthsAreRefused) {
  FrameHeaderBytes bytes = encode_frame_header({1, 2, 100});
  EXPECT_FALSE(decode_frame_header(bytes, 99).ok());
  EXPECT_TRUE(decode_frame_header(bytes, 100).ok());
  bytes[0] = std::byte{'X'};
  EXPECT_EQ(decode_frame_header(bytes, 100).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(FrameDecoder, FramesComeOutWholeHoweverTheStreamIsCut) {
  std::vector<std::byte> stream;
  std::vector<std::vector<std::byte>> payloads;
  std::mt19937 random(2);
  for (const size_t size : {size_t{0}, size_t{1}, size_t{11}, size_t{3'000'000}, size_t{0}}) {
    payloads.emplace_back(size, static_cast<std::byte>(size));
    const auto frame =
        encode_frame({kProtocolVersion, static_cast<uint16_t>(size), static_cast<uint32_t>(size)},
                     payloads.back());
    stream.insert(stream.end(), frame.begin(), frame.end());
  }
  for (const size_t piece : {size_t{1}, size_t{7}, size_t{65536}, stream.size()}) {
    FrameDecoder decoder(kMaxFrameBytes);
    std::span<const std::byte> rest = stream;
    size_t frames = 0;
    while (!rest.empty()) {
      const auto space = decoder.space();
      ASSERT_FALSE(space.empty());
      const size_t bytes = std::min({piece, space.size(), rest.size()});
      std::memcpy(space.data(), rest.data(), bytes);
      rest = rest.subspan(bytes);
      const auto complete = decoder.commit(bytes);
      ASSERT_TRUE(complete.ok());
      if (!*complete) continue;
      EXPECT_TRUE(decoder.take().payload == payloads[frames++]);
      EXPECT_TRUE(decoder.at_boundary());
    }
    EXPECT_EQ(frames, payloads.size());
  }
}

TEST(FrameDecoder, MemoryFollowsTheBytesThatCameNotTheClaim) {
  FrameDecoder decoder(kMaxFrameBytes);
  const auto header = encode_frame_header({kProtocolVersion, 1, kMaxFrameBytes});
  std::memcpy(decoder.space().data(), header.data(), header.size());
  ASSERT_TRUE(decoder.commit(header.size()).ok());
  EXPECT_LE(decoder.space().size(), size_t{1} << 20);
}

TEST(Handshake, ProofsDependOnSecretSpeakerAndBothNonces) {
  const Nonce a{};
  Nonce b{};
  b[31] = std::byte{1};
  const Proof proof = compute_proof("secret", kRankSpeaker, a, b);
  EXPECT_EQ(proof, compute_proof("secret", kRankSpeaker, a, b));
  EXPECT_NE(proof, compute_proof("secreT", kRankSpeaker, a, b));
  EXPECT_NE(proof, compute_proof("secret", kCoordinatorSpeaker, a, b));
  EXPECT_NE(proof, compute_proof("secret", kRankSpeaker, b, a));
  EXPECT_NE(proof, compute_proof("secret", kRankSpeaker, a, a));
}

// The value comes from another implementation of HMAC-SHA256 over the same layout: version u16,
// length u32 and text of the speaker, rank's nonce, coordinator's nonce.
TEST(Handshake, ProofIsHmacSha256OfTheDocumentedLayout) {
  Nonce rank;
  Nonce coordinator;
  for (size_t i = 0; i < rank.size(); ++i) {
    rank[i] = static_cast<std::byte>(i);
    coordinator[i] = static_cast<std::byte>(100 + i);
  }
  const Proof proof = compute_proof("the secret of this group", kRankSpeaker, rank, coordinator);
  std::string hex;
  for (const std::byte b : proof) {
    hex.push_back("0123456789abcdef"[static_cast<unsigned>(b) >> 4]);
    hex.push_back("0123456789abcdef"[static_cast<unsigned>(b) & 15u]);
  }
  EXPECT_EQ(hex, "5686f0b9b240307c84584288370df76f70f7d4c5591fdb7e8c93993ab517146e");
}

TEST(Handshake, BothSidesAgreeAndTheSecretNeverTravels) {
  const std::string secret = "the secret of this group";
  RankHandshake rank(secret, make_nonce());
  CoordinatorHandshake coordinator(secret, make_nonce());
  std::vector<std::byte> wire = rank.hello();
  std::string all = text_of(wire);
  const auto pass = [&](auto& side) {
    FrameHeaderBytes raw{};
    std::copy_n(wire.begin(), raw.size(), raw.begin());
    const auto header = decode_frame_header(raw, kMaxHandshakePayloadBytes);
    EXPECT_TRUE(header.ok());
    const HandshakeStep step = side.on_frame(*header, std::span(wire).subspan(raw.size()));
    EXPECT_TRUE(step.failure.ok()) << step.failure;
    wire = step.reply;
    all += text_of(wire);
    return step.done;
  };
  EXPECT_FALSE(pass(coordinator));
  EXPECT_FALSE(pass(rank));
  EXPECT_TRUE(pass(coordinator));
  EXPECT_TRUE(pass(rank));
  EXPECT_EQ(all.find(secret), std::string::npos);
}

}  // namespace
}  // namespace conclave::comm
