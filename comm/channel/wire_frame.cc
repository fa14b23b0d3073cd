#include "comm/channel/wire_frame.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>

#include "base/status_macros.h"
#include "base/wire.h"

namespace conclave::comm {
namespace {

constexpr size_t kGrowthBytes = size_t{1} << 20;

}  // namespace

FrameHeaderBytes encode_frame_header(const FrameHeader& header) {
  std::vector<std::byte> bytes;
  bytes.reserve(kFrameHeaderBytes);
  WireWriter writer(&bytes);
  writer.put(kFrameMagic);
  writer.put(header.version);
  writer.put(header.type);
  writer.put(header.length);
  FrameHeaderBytes out{};
  std::copy_n(bytes.begin(), kFrameHeaderBytes, out.begin());
  return out;
}

absl::StatusOr<FrameHeader> decode_frame_header(std::span<const std::byte, kFrameHeaderBytes> bytes,
                                                uint32_t max_payload_bytes) {
  WireReader reader(bytes);
  if (const auto magic = reader.get<uint32_t>(); magic != kFrameMagic) {
    char text[80];
    std::snprintf(text, sizeof text,
                  "the peer does not speak Conclave's protocol (%02x %02x %02x %02x)",
                  static_cast<unsigned>(bytes[0]), static_cast<unsigned>(bytes[1]),
                  static_cast<unsigned>(bytes[2]), static_cast<unsigned>(bytes[3]));
    return absl::InvalidArgumentError(text);
  }
  FrameHeader header;
  header.version = reader.get<uint16_t>();
  header.type = reader.get<uint16_t>();
  header.length = reader.get<uint32_t>();
  if (header.length > max_payload_bytes) {
    return absl::InvalidArgumentError("a frame of type " + std::to_string(header.type) +
                                      " announces " + std::to_string(header.length) +
                                      " bytes; at most " + std::to_string(max_payload_bytes) +
                                      " are allowed here");
  }
  return header;
}

std::vector<std::byte> encode_frame(const FrameHeader& header, std::span<const std::byte> payload) {
  const FrameHeaderBytes raw = encode_frame_header(header);
  std::vector<std::byte> bytes(raw.size() + payload.size());
  std::copy(raw.begin(), raw.end(), bytes.begin());
  std::copy(payload.begin(), payload.end(), bytes.begin() + static_cast<std::ptrdiff_t>(raw.size()));
  return bytes;
}

absl::Status check_sendable(uint16_t type, size_t payload_bytes) {
  if (type >= kFirstReservedFrameType) {
    return absl::InvalidArgumentError("frame type " + std::to_string(type) +
                                      " is reserved for the handshake");
  }
  if (payload_bytes > kMaxFrameBytes) {
    return absl::InvalidArgumentError("a message of " + std::to_string(payload_bytes) +
                                      " bytes is over the limit of " +
                                      std::to_string(kMaxFrameBytes) + " bytes");
  }
  return absl::OkStatus();
}

std::span<std::byte> FrameDecoder::space() {
  if (header_bytes_ < kFrameHeaderBytes) {
    return std::span(raw_header_).subspan(header_bytes_);
  }
  if (payload_bytes_ == payload_.size()) {
    const size_t grown = std::max(kGrowthBytes, 2 * payload_.size());
    payload_.resize(std::min<size_t>(header_.length, grown));
  }
  return std::span(payload_).subspan(payload_bytes_);
}

absl::StatusOr<bool> FrameDecoder::commit(size_t bytes) {
  if (header_bytes_ < kFrameHeaderBytes) {
    header_bytes_ += bytes;
    if (header_bytes_ < kFrameHeaderBytes) return false;
    ASSIGN_OR_RETURN(header_, decode_frame_header(raw_header_, max_payload_bytes_));
    return header_.length == 0;
  }
  payload_bytes_ += bytes;
  return payload_bytes_ == header_.length;
}

Frame FrameDecoder::take() {
  Frame frame{header_.type, std::move(payload_)};
  payload_.clear();
  header_bytes_ = payload_bytes_ = 0;
  return frame;
}

}  // namespace conclave::comm
