#include "bench/echo_ranks.h"

#include <unistd.h>

#include <chrono>

#include "base/status_macros.h"
#include "comm/channel/tcp_channel.h"
#include "protocol/messages.h"
#include "protocol/step_plan.h"

namespace conclave::bench {
namespace {

using protocol::MessageType;

absl::Status send(comm::Channel& channel, MessageType type, const std::vector<std::byte>& bytes) {
  return channel.send(static_cast<uint16_t>(type), bytes, Deadline::after_ms(5000));
}

protocol::StepResult answer(const protocol::StepPlan& plan, int32_t vocab) {
  protocol::StepResult result;
  result.step = plan.step;
  for (const protocol::SequenceChunk& chunk : plan.chunks) {
    if (!chunk.sample) continue;
    protocol::SequenceResult sequence;
    sequence.sequence_id = chunk.sequence_id;
    sequence.sampled = true;
    // A spread of ordinary tokens, the same each time.
    sequence.token = static_cast<int32_t>(
        (chunk.sequence_id * 7919 + static_cast<uint64_t>(chunk.start_position) * 104729) % static_cast<uint64_t>(vocab - 300)) + 300;
    result.sequences.push_back(std::move(sequence));
  }
  protocol::RankTiming timing;
  for (const protocol::SequenceChunk& chunk : plan.chunks) timing.tokens += static_cast<int64_t>(chunk.tokens.size());
  result.ranks.push_back(timing);
  return result;
}

}  // namespace

absl::StatusOr<std::unique_ptr<EchoRank>> EchoRank::join(const std::string& host, uint16_t port, const std::string& secret,
                                                         int32_t vocab) {
  ASSIGN_OR_RETURN(auto channel, comm::connect_channel(host, port, secret, Deadline::after_ms(10000)));
  protocol::Join join;
  join.rank = 0;
  join.size = 1;
  join.host = "localhost";
  join.pid = ::getpid();
  join.cores = 1;
  join.memory_available_bytes = uint64_t{1} << 30;
  join.kernel_sets = {"echo"};
  RETURN_IF_ERROR(send(*channel, MessageType::kJoin, protocol::encode(join)));
  return std::unique_ptr<EchoRank>(new EchoRank(std::move(channel), vocab));
}

EchoRank::EchoRank(std::unique_ptr<comm::Channel> channel, int32_t vocab) : channel_(std::move(channel)), vocab_(vocab) {
  plans_ = std::thread([this] { serve(); });
  health_ = std::thread([this] {
    while (!stop_.load()) {
      protocol::Health health;
      health.operation = "idle";
      if (!send(*channel_, MessageType::kHealth, protocol::encode(health)).ok()) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(protocol::kHealthPeriodMs));
    }
  });
}

EchoRank::~EchoRank() {
  stop_.store(true);
  channel_->close();
  plans_.join();
  health_.join();
}

void EchoRank::serve() {
  while (!stop_.load()) {
    const absl::StatusOr<comm::Frame> frame = channel_->receive(Deadline::after_ms(1000));
    if (!frame.ok()) {
      if (absl::IsDeadlineExceeded(frame.status())) continue;
      return;
    }
    switch (static_cast<MessageType>(frame->type)) {
      case MessageType::kConfigure: {
        protocol::Ready ready;
        ready.kv_blocks = 1 << 16;
        ready.model_fingerprint = "echo";
        if (!send(*channel_, MessageType::kReady, protocol::encode(ready)).ok()) return;
        break;
      }
      case MessageType::kPlan: {
        const auto plan = protocol::decode_step_plan(frame->payload);
        if (!plan.ok() || plan->sleep) break;
        if (!send(*channel_, MessageType::kResult, protocol::encode(answer(*plan, vocab_))).ok()) return;
        break;
      }
      case MessageType::kShutdown: return;
      default: break;
    }
  }
}

}  // namespace conclave::bench
