#ifndef CONCLAVE_TESTS_COORDINATOR_ENGINE_MANUAL_RANK_H_
#define CONCLAVE_TESTS_COORDINATOR_ENGINE_MANUAL_RANK_H_

// A rank that does what the test tells it to, one frame at a time.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "comm/channel/channel.h"
#include "gtest/gtest.h"
#include "protocol/messages.h"
#include "protocol/step_plan.h"

namespace conclave::coordinator {

class ManualRank {
 public:
  explicit ManualRank(std::unique_ptr<comm::Channel> channel, int32_t rank = 0, int32_t size = 1)
      : channel_(std::move(channel)) {
    join_.rank = rank;
    join_.size = size;
    join_.host = "host" + std::to_string(rank);
    join_.pid = 1000 + rank;
    join_.cores = 4;
    join_.kernel_sets = {"cpu-avx2", "reference"};
  }
  protocol::Join& join() { return join_; }
  void close() { channel_->close(); }

  void send(protocol::MessageType type, const std::vector<std::byte>& payload = {}) {
    const absl::Status status =
        channel_->send(static_cast<uint16_t>(type), payload, Deadline::after_ms(10000));
    EXPECT_TRUE(status.ok()) << status;
  }
  void send_join() { send(protocol::MessageType::kJoin, protocol::encode(join_)); }
  void send_ready(int32_t kv_blocks = 8, const std::string& fingerprint = "model") {
    protocol::Ready ready;
    ready.kv_blocks = kv_blocks;
    ready.model_fingerprint = fingerprint;
    send(protocol::MessageType::kReady, protocol::encode(ready));
  }
  void send_health(int64_t step, int32_t layer, const std::string& operation, double age_seconds) {
    send(protocol::MessageType::kHealth,
         protocol::encode(protocol::Health{step, layer, operation, age_seconds}));
  }
  void send_result(int64_t step) {
    protocol::StepResult result;
    result.step = step;
    send(protocol::MessageType::kResult, protocol::encode(result));
  }

  // The next frame, which must be of this type.
  std::vector<std::byte> expect(protocol::MessageType type) {
    auto frame = channel_->receive(Deadline::after_ms(10000));
    EXPECT_TRUE(frame.ok()) << frame.status();
    if (!frame.ok()) return {};
    EXPECT_EQ(frame->type, static_cast<uint16_t>(type));
    return std::move(frame->payload);
  }
  protocol::Configure expect_configure() {
    auto configure = protocol::decode_configure(expect(protocol::MessageType::kConfigure));
    EXPECT_TRUE(configure.ok()) << configure.status();
    return configure.ok() ? *configure : protocol::Configure{};
  }
  protocol::StepPlan expect_plan() {
    auto plan = protocol::decode_step_plan(expect(protocol::MessageType::kPlan));
    EXPECT_TRUE(plan.ok()) << plan.status();
    return plan.ok() ? *plan : protocol::StepPlan{};
  }
  bool expect_closed() {
    while (true) {
      const auto frame = channel_->receive(Deadline::after_ms(10000));
      if (!frame.ok()) return absl::IsUnavailable(frame.status());
    }
  }

 private:
  std::unique_ptr<comm::Channel> channel_;
  protocol::Join join_;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_TESTS_COORDINATOR_ENGINE_MANUAL_RANK_H_
