#ifndef CONCLAVE_COMM_CHANNEL_HANDSHAKE_H_
#define CONCLAVE_COMM_CHANNEL_HANDSHAKE_H_

// The opening of a connection, as two state machines without sockets.
//
//   rank -> coordinator   hello      rank's nonce
//   coordinator -> rank   challenge  coordinator's nonce
//   rank -> coordinator   proof      HMAC-SHA256(secret, "rank" and both nonces)
//   coordinator -> rank   welcome    HMAC-SHA256(secret, "coordinator" and both nonces)
//   coordinator -> rank   reject     status code u16, sentence; instead of any answer
//
// The rank proves itself first, so a stranger never sees an HMAC made with the secret. Who speaks
// is part of the HMAC, so a proof cannot be sent back to its maker. The version is in every header.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "comm/channel/wire_frame.h"

namespace conclave::comm {

inline constexpr uint16_t kHelloFrame = kFirstReservedFrameType + 1;
inline constexpr uint16_t kChallengeFrame = kFirstReservedFrameType + 2;
inline constexpr uint16_t kProofFrame = kFirstReservedFrameType + 3;
inline constexpr uint16_t kWelcomeFrame = kFirstReservedFrameType + 4;
inline constexpr uint16_t kRejectFrame = kFirstReservedFrameType + 5;

// Who has not proved anything yet can make us hold no more than this.
inline constexpr uint32_t kMaxHandshakePayloadBytes = 512;

using Nonce = std::array<std::byte, 32>;
using Proof = std::array<std::byte, 32>;

Nonce make_nonce();
Proof compute_proof(const std::string& secret, std::string_view speaker, const Nonce& rank_nonce,
                    const Nonce& coordinator_nonce);
inline constexpr std::string_view kRankSpeaker = "conclave rank";
inline constexpr std::string_view kCoordinatorSpeaker = "conclave coordinator";

struct HandshakeStep {
  std::vector<std::byte> reply;  // to send, also on failure; may be empty
  bool done = false;
  absl::Status failure;  // UNAUTHENTICATED, FAILED_PRECONDITION (version), INVALID_ARGUMENT
};

class CoordinatorHandshake {
 public:
  CoordinatorHandshake(std::string secret, const Nonce& nonce);
  HandshakeStep on_frame(const FrameHeader& header, std::span<const std::byte> payload);

 private:
  std::string secret_;
  Nonce nonce_;
  Nonce rank_nonce_{};
  uint16_t expected_ = kHelloFrame;
};

class RankHandshake {
 public:
  RankHandshake(std::string secret, const Nonce& nonce);
  std::vector<std::byte> hello() const;
  HandshakeStep on_frame(const FrameHeader& header, std::span<const std::byte> payload);

 private:
  HandshakeStep on_reject(const FrameHeader& header, std::span<const std::byte> payload) const;
  std::string secret_;
  Nonce nonce_;
  Nonce coordinator_nonce_{};
  uint16_t expected_ = kChallengeFrame;
};

}  // namespace conclave::comm

#endif  // CONCLAVE_COMM_CHANNEL_HANDSHAKE_H_
