#ifndef CONCLAVE_PROTOCOL_MESSAGES_H_
#define CONCLAVE_PROTOCOL_MESSAGES_H_

// Frames of the control connection between the coordinator and each rank.
//
//   rank -> coordinator   Join (first frame), LoadProgress*, Ready, then Health periodically,
//                         Result (rank 0 only), Prepared
//                         (placement_update.h), Failure (then the rank exits), Bye
//   coordinator -> rank   Configure (answer to Join), Plan (rank 0 only), Wake (other ranks),
//                         Shutdown (as answer to Join with a reason: the rank is refused)
//
// Busy and idle: the coordinator sends Wake to ranks 1..N-1 together with the first Plan of a busy
// period; after some idle milliseconds it sends rank 0 a Plan with sleep set, which rank 0 broadcasts
// like any other. Each sleep is matched by exactly one Wake, so the two streams cannot race.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/dtype.h"
#include "protocol/placement_update.h"

namespace conclave::protocol {

enum class MessageType : uint16_t {
  kJoin = 1, kConfigure = 2, kLoadProgress = 3, kReady = 4, kHealth = 5, kPlan = 6,
  kResult = 7, kFailure = 8, kWake = 9, kShutdown = 10, kBye = 11, kPrepared = 12,
};

struct Join {
  uint32_t group = 0;
  int32_t rank = 0;
  int32_t size = 0;
  std::string host;
  int64_t pid = 0;
  int32_t cores = 0;                       // usable cores of the host
  uint64_t memory_available_bytes = 0;
  std::vector<std::string> kernel_sets;    // that this rank can run, best first
};

// What a rank shall load and how; the same for all ranks of a group but for `threads` and `first_core`.
struct Configure {
  std::string model_path;
  std::string kernel_set;             // agreed: the best that all ranks have
  ComputeType compute = ComputeType::kBF16;
  int32_t threads = 1;
  int32_t first_core = -1;            // pin threads to cores from here on; -1: do not pin
  int32_t kv_blocks = 0;              // 0: the rank decides from kv_memory_bytes
  uint64_t kv_memory_bytes = 0;       // 0: from free memory divided by the ranks of the host
  int32_t max_step_tokens = 0;        // rows one rank may get in a step
  int32_t max_model_len = 0;
  std::string placement_json;         // empty: contiguous
  // Expert slots of a rank in each MoE layer; 0: as many as the largest share of the table. Tables that come
  // later may use as many.
  int32_t expert_slots = 0;
  std::string overlap = "auto";       // on | off | auto
  // fixed | coherent | auto. Unless fixed, step plans may contain coherent chunks; auto: measure the
  // transport, so that the coordinator can choose.
  std::string plan = "fixed";
  std::string dummy_shape_json;       // not empty: no model files, a shape with random weights (benchmarks)
  uint64_t dummy_seed = 0;
};

struct LoadProgress {
  uint64_t bytes_done = 0;
  uint64_t bytes_total = 0;
};

struct Ready {
  int32_t kv_blocks = 0;
  uint64_t weight_bytes = 0;
  uint64_t kv_bytes = 0;
  double load_seconds = 0;
  std::string model_fingerprint;
  int32_t expert_slots = 0;         // per MoE layer
  int32_t spare_expert_slots = 0;   // on top of all layers: how many experts one update may bring
  uint64_t expert_slot_bytes = 0;
  double exchange_latency_seconds = 0;  // measured if the coordinator is to choose the plan
  double exchange_bytes_per_second = 0;
};

// Sent every kHealthPeriodMs by a thread of its own, also while the step thread is stuck.
inline constexpr int32_t kHealthPeriodMs = 200;
struct Health {
  int64_t step = -1;
  int32_t layer = -1;
  std::string operation;          // what the step thread does now; "idle" when asleep
  double operation_age_seconds = 0;
};

struct Failure {
  std::string message;  // one sentence: rank, host, layer, operation, age
  bool lasting = false;  // a refusal: it will be so again however often the group starts
};

std::vector<std::byte> encode(const Join& message);
std::vector<std::byte> encode(const Configure& message);
std::vector<std::byte> encode(const LoadProgress& message);
std::vector<std::byte> encode(const Ready& message);
std::vector<std::byte> encode(const Health& message);
std::vector<std::byte> encode(const Failure& message);
std::vector<std::byte> encode(const Prepared& message);
absl::StatusOr<Join> decode_join(std::span<const std::byte> bytes);
absl::StatusOr<Configure> decode_configure(std::span<const std::byte> bytes);
absl::StatusOr<LoadProgress> decode_load_progress(std::span<const std::byte> bytes);
absl::StatusOr<Ready> decode_ready(std::span<const std::byte> bytes);
absl::StatusOr<Health> decode_health(std::span<const std::byte> bytes);
absl::StatusOr<Failure> decode_failure(std::span<const std::byte> bytes);
absl::StatusOr<Prepared> decode_prepared(std::span<const std::byte> bytes);

}  // namespace conclave::protocol

#endif  // CONCLAVE_PROTOCOL_MESSAGES_H_
