#ifndef CONCLAVE_COMM_CHANNEL_WIRE_FRAME_H_
#define CONCLAVE_COMM_CHANNEL_WIRE_FRAME_H_

// How a frame looks on a TCP connection, as pure functions over bytes. Little-endian:
//   magic u32, version u16, type u16, payload length u32, payload.
// These twelve bytes keep their layout in all versions, so that two versions can tell each other.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/channel/channel.h"

namespace conclave::comm {

inline constexpr uint32_t kFrameMagic = 0x4c434e43;  // "CNCL" in byte order
inline constexpr size_t kFrameHeaderBytes = 12;
// Types from here on belong to the handshake; messages may not use them.
inline constexpr uint16_t kFirstReservedFrameType = 0xff00;

struct FrameHeader {
  uint16_t version = 0;
  uint16_t type = 0;
  uint32_t length = 0;  // bytes of the payload
};
using FrameHeaderBytes = std::array<std::byte, kFrameHeaderBytes>;

FrameHeaderBytes encode_frame_header(const FrameHeader& header);
// INVALID_ARGUMENT: not a frame, or more than max_payload_bytes. Any version is accepted.
absl::StatusOr<FrameHeader> decode_frame_header(std::span<const std::byte, kFrameHeaderBytes> bytes,
                                                uint32_t max_payload_bytes);
// Header and payload in one piece.
std::vector<std::byte> encode_frame(const FrameHeader& header, std::span<const std::byte> payload);

// INVALID_ARGUMENT for a type or size that must not be sent.
absl::Status check_sendable(uint16_t type, size_t payload_bytes);

// Puts frames together from a stream that arrives in pieces. Memory grows with the bytes that came,
// not with the length that a header claims. Used by one thread.
class FrameDecoder {
 public:
  explicit FrameDecoder(uint32_t max_payload_bytes) : max_payload_bytes_(max_payload_bytes) {}
  void set_max_payload_bytes(uint32_t bytes) { max_payload_bytes_ = bytes; }

  // Where the next bytes of the stream belong; never empty. Valid until the next call.
  std::span<std::byte> space();
  // `bytes` of space() are filled. True: a frame is complete, take() it before going on. After an
  // error the stream has no meaning any more.
  absl::StatusOr<bool> commit(size_t bytes);
  const FrameHeader& header() const { return header_; }
  Frame take();
  // True between two frames: the end of the stream here cuts nothing off.
  bool at_boundary() const { return header_bytes_ == 0; }

 private:
  uint32_t max_payload_bytes_;
  FrameHeaderBytes raw_header_{};
  size_t header_bytes_ = 0;
  FrameHeader header_;
  std::vector<std::byte> payload_;
  size_t payload_bytes_ = 0;
};

}  // namespace conclave::comm

#endif  // CONCLAVE_COMM_CHANNEL_WIRE_FRAME_H_
