#include "protocol/messages.h"

#include "absl/strings/str_cat.h"
#include "base/wire.h"

namespace conclave::protocol {
namespace {

template <typename Message>
absl::StatusOr<Message> finish(const WireReader& in, Message message, const char* what) {
  if (!in.ok() || !in.at_end()) return absl::InvalidArgumentError(absl::StrCat(what, ": malformed bytes"));
  return message;
}

}  // namespace

std::vector<std::byte> encode(const Join& message) {
  std::vector<std::byte> bytes;
  WireWriter out(&bytes);
  out.put(message.group);
  out.put(message.rank);
  out.put(message.size);
  out.put_string(message.host);
  out.put(message.pid);
  out.put(message.cores);
  out.put(message.memory_available_bytes);
  out.put(static_cast<uint32_t>(message.kernel_sets.size()));
  for (const std::string& name : message.kernel_sets) out.put_string(name);
  return bytes;
}

absl::StatusOr<Join> decode_join(std::span<const std::byte> bytes) {
  WireReader in(bytes);
  Join message;
  message.group = in.get<uint32_t>();
  message.rank = in.get<int32_t>();
  message.size = in.get<int32_t>();
  message.host = in.get_string();
  message.pid = in.get<int64_t>();
  message.cores = in.get<int32_t>();
  message.memory_available_bytes = in.get<uint64_t>();
  message.kernel_sets.resize(in.get_count(4));
  for (std::string& name : message.kernel_sets) name = in.get_string();
  return finish(in, std::move(message), "join");
}

std::vector<std::byte> encode(const Configure& message) {
  std::vector<std::byte> bytes;
  WireWriter out(&bytes);
  out.put_string(message.model_path);
  out.put_string(message.kernel_set);
  out.put(message.compute);
  out.put(message.threads);
  out.put(message.first_core);
  out.put(message.kv_blocks);
  out.put(message.kv_memory_bytes);
  out.put(message.max_step_tokens);
  out.put(message.max_model_len);
  out.put_string(message.placement_json);
  out.put(message.expert_slots);
  out.put_string(message.overlap);
  out.put_string(message.plan);
  out.put_string(message.dummy_shape_json);
  out.put(message.dummy_seed);
  return bytes;
}

absl::StatusOr<Configure> decode_configure(std::span<const std::byte> bytes) {
  WireReader in(bytes);
  Configure message;
  message.model_path = in.get_string();
  message.kernel_set = in.get_string();
  const uint8_t compute = in.get<uint8_t>();
  if (compute > static_cast<uint8_t>(ComputeType::kBF16)) in.fail();
  message.compute = static_cast<ComputeType>(compute);
  message.threads = in.get<int32_t>();
  message.first_core = in.get<int32_t>();
  message.kv_blocks = in.get<int32_t>();
  message.kv_memory_bytes = in.get<uint64_t>();
  message.max_step_tokens = in.get<int32_t>();
  message.max_model_len = in.get<int32_t>();
  message.placement_json = in.get_string();
  message.expert_slots = in.get<int32_t>();
  message.overlap = in.get_string();
  message.plan = in.get_string();
  message.dummy_shape_json = in.get_string();
  message.dummy_seed = in.get<uint64_t>();
  return finish(in, std::move(message), "configure");
}

std::vector<std::byte> encode(const LoadProgress& message) {
  std::vector<std::byte> bytes;
  WireWriter out(&bytes);
  out.put(message.bytes_done);
  out.put(message.bytes_total);
  return bytes;
}

absl::StatusOr<LoadProgress> decode_load_progress(std::span<const std::byte> bytes) {
  WireReader in(bytes);
  LoadProgress message;
  message.bytes_done = in.get<uint64_t>();
  message.bytes_total = in.get<uint64_t>();
  return finish(in, message, "load progress");
}

std::vector<std::byte> encode(const Ready& message) {
  std::vector<std::byte> bytes;
  WireWriter out(&bytes);
  out.put(message.kv_blocks);
  out.put(message.weight_bytes);
  out.put(message.kv_bytes);
  out.put(message.load_seconds);
  out.put_string(message.model_fingerprint);
  out.put(message.expert_slots);
  out.put(message.spare_expert_slots);
  out.put(message.expert_slot_bytes);
  out.put(message.exchange_latency_seconds);
  out.put(message.exchange_bytes_per_second);
  return bytes;
}

absl::StatusOr<Ready> decode_ready(std::span<const std::byte> bytes) {
  WireReader in(bytes);
  Ready message;
  message.kv_blocks = in.get<int32_t>();
  message.weight_bytes = in.get<uint64_t>();
  message.kv_bytes = in.get<uint64_t>();
  message.load_seconds = in.get<double>();
  message.model_fingerprint = in.get_string();
  message.expert_slots = in.get<int32_t>();
  message.spare_expert_slots = in.get<int32_t>();
  message.expert_slot_bytes = in.get<uint64_t>();
  message.exchange_latency_seconds = in.get<double>();
  message.exchange_bytes_per_second = in.get<double>();
  return finish(in, std::move(message), "ready");
}

std::vector<std::byte> encode(const Health& message) {
  std::vector<std::byte> bytes;
  WireWriter out(&bytes);
  out.put(message.step);
  out.put(message.layer);
  out.put_string(message.operation);
  out.put(message.operation_age_seconds);
  return bytes;
}

absl::StatusOr<Health> decode_health(std::span<const std::byte> bytes) {
  WireReader in(bytes);
  Health message;
  message.step = in.get<int64_t>();
  message.layer = in.get<int32_t>();
  message.operation = in.get_string();
  message.operation_age_seconds = in.get<double>();
  return finish(in, std::move(message), "health");
}

std::vector<std::byte> encode(const Failure& message) {
  std::vector<std::byte> bytes;
  WireWriter out(&bytes);
  out.put_string(message.message);
  out.put(static_cast<uint8_t>(message.lasting));
  return bytes;
}

absl::StatusOr<Failure> decode_failure(std::span<const std::byte> bytes) {
  WireReader in(bytes);
  Failure message;
  message.message = in.get_string();
  message.lasting = in.get<uint8_t>() != 0;
  return finish(in, std::move(message), "failure");
}

std::vector<std::byte> encode(const Prepared& message) {
  std::vector<std::byte> bytes;
  WireWriter out(&bytes);
  out.put(message.epoch);
  out.put_string(message.error);
  out.put(message.bytes);
  out.put(message.seconds);
  return bytes;
}

absl::StatusOr<Prepared> decode_prepared(std::span<const std::byte> bytes) {
  WireReader in(bytes);
  Prepared message;
  message.epoch = in.get<int64_t>();
  message.error = in.get_string();
  message.bytes = in.get<uint64_t>();
  message.seconds = in.get<double>();
  return finish(in, std::move(message), "prepared");
}

}  // namespace conclave::protocol
