#include "comm/channel/handshake.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <utility>

#include "base/wire.h"
#include "comm/channel/random_bytes.h"
#include "comm/channel/tcp_channel.h"

namespace conclave::comm {
namespace {

std::vector<std::byte> handshake_frame(uint16_t type, std::span<const std::byte> payload) {
  return encode_frame({kProtocolVersion, type, static_cast<uint32_t>(payload.size())}, payload);
}

HandshakeStep failed(absl::Status failure) {
  HandshakeStep step;
  step.failure = std::move(failure);
  return step;
}

HandshakeStep reply(uint16_t type, std::span<const std::byte> payload) {
  HandshakeStep step;
  step.reply = handshake_frame(type, payload);
  return step;
}

HandshakeStep reject(absl::Status failure) {
  std::vector<std::byte> payload;
  WireWriter writer(&payload);
  writer.put(static_cast<uint16_t>(failure.code()));
  writer.put_string(std::string_view(failure.message().data(), failure.message().size()));
  HandshakeStep step = reply(kRejectFrame, payload);
  step.failure = std::move(failure);
  return step;
}

// Both nonces and both proofs have this size.
bool read_32_bytes(std::span<const std::byte> payload, std::array<std::byte, 32>* out) {
  if (payload.size() != out->size()) return false;
  std::copy(payload.begin(), payload.end(), out->begin());
  return true;
}

bool equal_in_constant_time(const Proof& a, const Proof& b) {
  return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

absl::Status version_error(std::string_view peer, uint16_t peer_version) {
  return absl::FailedPreconditionError("the " + std::string(peer) + " speaks protocol version " +
                                       std::to_string(peer_version) + ", this program version " +
                                       std::to_string(kProtocolVersion) +
                                       "; use the same release on both");
}

absl::Status unexpected_frame(uint16_t type, uint16_t expected, size_t bytes) {
  return absl::InvalidArgumentError(
      "a frame of type " + std::to_string(type) + " with " + std::to_string(bytes) +
      " bytes came where the handshake wants type " + std::to_string(expected) + " with 32 bytes");
}

}  // namespace

Nonce make_nonce() {
  Nonce nonce;
  fill_random(nonce);
  return nonce;
}

Proof compute_proof(const std::string& secret, std::string_view speaker, const Nonce& rank_nonce,
                    const Nonce& coordinator_nonce) {
  std::vector<std::byte> message;
  WireWriter writer(&message);
  writer.put(kProtocolVersion);
  writer.put_string(speaker);
  message.insert(message.end(), rank_nonce.begin(), rank_nonce.end());
  message.insert(message.end(), coordinator_nonce.begin(), coordinator_nonce.end());
  Proof proof{};
  unsigned int length = 0;
  HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
       reinterpret_cast<const unsigned char*>(message.data()), message.size(),
       reinterpret_cast<unsigned char*>(proof.data()), &length);
  return proof;
}

CoordinatorHandshake::CoordinatorHandshake(std::string secret, const Nonce& nonce)
    : secret_(std::move(secret)), nonce_(nonce) {}

HandshakeStep CoordinatorHandshake::on_frame(const FrameHeader& header,
                                             std::span<const std::byte> payload) {
  if (header.version != kProtocolVersion) return reject(version_error("rank", header.version));
  std::array<std::byte, 32> value{};
  if (header.type != expected_ || !read_32_bytes(payload, &value)) {
    return failed(unexpected_frame(header.type, expected_, payload.size()));
  }
  if (expected_ == kHelloFrame) {
    rank_nonce_ = value;
    expected_ = kProofFrame;
    return reply(kChallengeFrame, nonce_);
  }
  if (!equal_in_constant_time(value, compute_proof(secret_, kRankSpeaker, rank_nonce_, nonce_))) {
    return reject(absl::UnauthenticatedError("the rank does not know the secret of this group"));
  }
  HandshakeStep step =
      reply(kWelcomeFrame, compute_proof(secret_, kCoordinatorSpeaker, rank_nonce_, nonce_));
  step.done = true;
  return step;
}

RankHandshake::RankHandshake(std::string secret, const Nonce& nonce)
    : secret_(std::move(secret)), nonce_(nonce) {}

std::vector<std::byte> RankHandshake::hello() const { return handshake_frame(kHelloFrame, nonce_); }

HandshakeStep RankHandshake::on_reject(const FrameHeader& header,
                                       std::span<const std::byte> payload) const {
  if (header.version != kProtocolVersion) {
    return failed(version_error("coordinator", header.version));
  }
  WireReader reader(payload);
  const auto code = static_cast<absl::StatusCode>(reader.get<uint16_t>());
  if (reader.ok() && code == absl::StatusCode::kUnauthenticated) {
    return failed(absl::UnauthenticatedError(
        "the coordinator does not accept this rank's secret; both must read the same secret file"));
  }
  return failed(absl::UnavailableError("the coordinator refused the connection"));
}

HandshakeStep RankHandshake::on_frame(const FrameHeader& header,
                                      std::span<const std::byte> payload) {
  if (header.type == kRejectFrame) return on_reject(header, payload);
  if (header.version != kProtocolVersion) {
    return failed(version_error("coordinator", header.version));
  }
  std::array<std::byte, 32> value{};
  if (header.type != expected_ || !read_32_bytes(payload, &value)) {
    return failed(unexpected_frame(header.type, expected_, payload.size()));
  }
  if (expected_ == kChallengeFrame) {
    coordinator_nonce_ = value;
    expected_ = kWelcomeFrame;
    return reply(kProofFrame, compute_proof(secret_, kRankSpeaker, nonce_, coordinator_nonce_));
  }
  const Proof want = compute_proof(secret_, kCoordinatorSpeaker, nonce_, coordinator_nonce_);
  if (!equal_in_constant_time(value, want)) {
    return failed(absl::UnauthenticatedError(
        "who listens there does not know this group's secret; is it the coordinator?"));
  }
  HandshakeStep step;
  step.done = true;
  return step;
}

}  // namespace conclave::comm
