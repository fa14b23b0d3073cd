// Arbitrary bytes as a stream of frames, as both ends' handshakes and as each control message. The
// first byte says in which pieces the stream arrives; what decodes must encode to something that
// decodes again.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

#include "comm/channel/handshake.h"
#include "comm/channel/wire_frame.h"
#include "protocol/messages.h"
#include "protocol/step_plan.h"

namespace {

using conclave::comm::CoordinatorHandshake;
using conclave::comm::Frame;
using conclave::comm::FrameDecoder;
using conclave::comm::Nonce;
using conclave::comm::RankHandshake;
namespace protocol = conclave::protocol;

void require(bool condition) {
  if (!condition) std::abort();
}

template <typename Message>
void check_round_trip(const absl::StatusOr<Message>& message,
                      absl::StatusOr<Message> (*decode)(std::span<const std::byte>)) {
  if (message.ok()) require(decode(protocol::encode(*message)).ok());
}

void decode_messages(std::span<const std::byte> bytes) {
  check_round_trip(protocol::decode_join(bytes), protocol::decode_join);
  check_round_trip(protocol::decode_configure(bytes), protocol::decode_configure);
  check_round_trip(protocol::decode_load_progress(bytes), protocol::decode_load_progress);
  check_round_trip(protocol::decode_ready(bytes), protocol::decode_ready);
  check_round_trip(protocol::decode_health(bytes), protocol::decode_health);
  check_round_trip(protocol::decode_failure(bytes), protocol::decode_failure);
  check_round_trip(protocol::decode_step_plan(bytes), protocol::decode_step_plan);
  check_round_trip(protocol::decode_step_result(bytes), protocol::decode_step_result);
}

void feed(std::span<const std::byte> stream, size_t piece) {
  FrameDecoder decoder(1u << 20);
  CoordinatorHandshake coordinator("secret", Nonce{});
  RankHandshake rank("secret", Nonce{});
  while (!stream.empty()) {
    const std::span<std::byte> space = decoder.space();
    require(!space.empty());
    const size_t bytes = std::min({piece, space.size(), stream.size()});
    std::memcpy(space.data(), stream.data(), bytes);
    stream = stream.subspan(bytes);
    const absl::StatusOr<bool> complete = decoder.commit(bytes);
    if (!complete.ok()) return;
    if (!*complete) continue;
    const conclave::comm::FrameHeader header = decoder.header();
    const Frame frame = decoder.take();
    require(frame.payload.size() == header.length && decoder.at_boundary());
    // Nobody gets in without the secret, and a failed handshake says why.
    const auto at_coordinator = coordinator.on_frame(header, frame.payload);
    require(!at_coordinator.done);
    require(at_coordinator.failure.ok() ==
            (header.type == conclave::comm::kHelloFrame && at_coordinator.reply.size() == 12 + 32));
    require(!rank.on_frame(header, frame.payload).done);
    decode_messages(frame.payload);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const auto bytes = std::as_bytes(std::span(data, size));
  feed(bytes.subspan(1), data[0] == 0 ? size : data[0]);
  decode_messages(bytes.subspan(1));
  return 0;
}
