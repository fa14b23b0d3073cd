#include "protocol/step_plan.h"

#include "absl/strings/str_cat.h"
#include "base/wire.h"

namespace conclave::protocol {
namespace {

// First field of each message: a change of layout without a change of version would be a silent disaster.
constexpr uint32_t kPlanMagic = 0x32504c43;    // "CLP2"
constexpr uint32_t kResultMagic = 0x32524c43;  // "CLR2"
// Smallest encodings, so that a lying count fails before anything is allocated.
constexpr uint8_t kSampled = 1, kNotFinite = 2;  // flags of a sequence's result
constexpr size_t kMinChunkBytes = 40;
constexpr size_t kMinSequenceBytes = 20;
constexpr size_t kMinRankBytes = 48;
constexpr size_t kMinRoutingBytes = 28;
constexpr size_t kTrafficBytes = 18;
constexpr size_t kMinPromptLogprobBytes = 16;
constexpr size_t kMinSpanBytes = 24;

void put_logprobs(WireWriter& out, const std::vector<TokenLogprob>& list) {
  out.put(static_cast<uint32_t>(list.size()));
  for (const TokenLogprob& item : list) {
    out.put(item.token);
    out.put(item.logprob);
  }
}

std::vector<TokenLogprob> get_logprobs(WireReader& in) {
  std::vector<TokenLogprob> list(in.get_count(8));
  for (TokenLogprob& item : list) {
    item.token = in.get<int32_t>();
    item.logprob = in.get<float>();
  }
  return list;
}

void put_sampling(WireWriter& out, const Sampling& s) {
  out.put(s.temperature);
  out.put(s.top_k);
  out.put(s.top_p);
  out.put(s.min_p);
  out.put(s.repetition_penalty);
  out.put(s.presence_penalty);
  out.put(s.frequency_penalty);
  out.put(s.seed);
  out.put(s.choice);
  out.put(s.position);
  out.put(s.top_logprobs);
  out.put(static_cast<uint32_t>(s.counts.size()));
  for (const TokenCount& count : s.counts) {
    out.put(count.token);
    out.put(count.output_count);
    out.put(static_cast<uint8_t>(count.in_prompt));
  }
  out.put(static_cast<uint32_t>(s.bias.size()));
  for (const TokenBias& bias : s.bias) {
    out.put(bias.token);
    out.put(bias.bias);
  }
}

Sampling get_sampling(WireReader& in) {
  Sampling s;
  s.temperature = in.get<float>();
  s.top_k = in.get<int32_t>();
  s.top_p = in.get<float>();
  s.min_p = in.get<float>();
  s.repetition_penalty = in.get<float>();
  s.presence_penalty = in.get<float>();
  s.frequency_penalty = in.get<float>();
  s.seed = in.get<uint64_t>();
  s.choice = in.get<uint32_t>();
  s.position = in.get<uint32_t>();
  s.top_logprobs = in.get<int32_t>();
  s.counts.resize(in.get_count(9));
  for (TokenCount& count : s.counts) {
    count.token = in.get<int32_t>();
    count.output_count = in.get<int32_t>();
    count.in_prompt = in.get<uint8_t>() != 0;
  }
  s.bias.resize(in.get_count(8));
  for (TokenBias& bias : s.bias) {
    bias.token = in.get<int32_t>();
    bias.bias = in.get<float>();
  }
  return s;
}

// Bits of a chunk's flag byte.
enum ChunkFlag : uint8_t { kSample = 1, kLogits = 2, kRouting = 4, kCoherentRow = 8, kRankHits = 16 };

void put_chunk(WireWriter& out, const SequenceChunk& chunk) {
  out.put(chunk.sequence_id);
  out.put(chunk.home_rank);
  out.put(chunk.start_position);
  out.put_array<int32_t>(chunk.tokens);
  out.put_array<int32_t>(chunk.block_ids);
  out.put(static_cast<uint8_t>((chunk.sample ? kSample : 0) | (chunk.want_logits ? kLogits : 0) |
                               (chunk.want_routing ? kRouting : 0) | (chunk.coherent ? kCoherentRow : 0) |
                               (chunk.want_rank_hits ? kRankHits : 0)));
  out.put(chunk.prompt_top_logprobs);
  out.put_array<int32_t>(chunk.prompt_targets);
  if (chunk.sample) put_sampling(out, chunk.sampling);
}

SequenceChunk get_chunk(WireReader& in) {
  SequenceChunk chunk;
  chunk.sequence_id = in.get<uint64_t>();
  chunk.home_rank = in.get<int32_t>();
  chunk.start_position = in.get<int32_t>();
  chunk.tokens = in.get_array<int32_t>();
  chunk.block_ids = in.get_array<int32_t>();
  const uint8_t flags = in.get<uint8_t>();
  chunk.sample = (flags & kSample) != 0;
  chunk.want_logits = (flags & kLogits) != 0;
  chunk.want_routing = (flags & kRouting) != 0;
  chunk.coherent = (flags & kCoherentRow) != 0;
  chunk.want_rank_hits = (flags & kRankHits) != 0;
  chunk.prompt_top_logprobs = in.get<int32_t>();
  chunk.prompt_targets = in.get_array<int32_t>();
  if (chunk.sample) chunk.sampling = get_sampling(in);
  return chunk;
}

void put_sequence(WireWriter& out, const SequenceResult& result) {
  out.put(result.sequence_id);
  out.put(static_cast<uint8_t>((result.sampled ? kSampled : 0) | (result.finite ? 0 : kNotFinite)));
  out.put(result.token);
  out.put(result.logprob);
  put_logprobs(out, result.top);
  out.put(static_cast<uint32_t>(result.prompt_logprobs.size()));
  for (const PromptLogprob& item : result.prompt_logprobs) {
    out.put(item.row);
    out.put(item.target.token);
    out.put(item.target.logprob);
    put_logprobs(out, item.top);
  }
  out.put_array<float>(result.logits);
  out.put_array<int32_t>(result.routing);
  out.put_array<int32_t>(result.rank_hits);
}

SequenceResult get_sequence(WireReader& in) {
  SequenceResult result;
  result.sequence_id = in.get<uint64_t>();
  const auto flags = in.get<uint8_t>();
  result.sampled = (flags & kSampled) != 0;
  result.finite = (flags & kNotFinite) == 0;
  result.token = in.get<int32_t>();
  result.logprob = in.get<float>();
  result.top = get_logprobs(in);
  result.prompt_logprobs.resize(in.get_count(kMinPromptLogprobBytes));
  for (PromptLogprob& item : result.prompt_logprobs) {
    item.row = in.get<int32_t>();
    item.target.token = in.get<int32_t>();
    item.target.logprob = in.get<float>();
    item.top = get_logprobs(in);
  }
  result.logits = in.get_array<float>();
  result.routing = in.get_array<int32_t>();
  result.rank_hits = in.get_array<int32_t>();
  return result;
}

void put_timing(WireWriter& out, const RankTiming& timing) {
  out.put(timing.rank);
  out.put(timing.compute_seconds);
  out.put(timing.exchange_seconds);
  out.put(timing.exchange_exposed_seconds);
  out.put(timing.combine_seconds);
  out.put(timing.switch_seconds);
  out.put(timing.tokens);
  out.put(timing.bytes_sent);
  out.put(timing.messages_sent);
  out.put_array<int64_t>(timing.expert_rows);
  out.put(static_cast<uint32_t>(timing.spans.size()));
  for (const TraceSpan& span : timing.spans) {
    out.put_string(span.operation);
    out.put(span.layer);
    out.put(span.begin);
    out.put(span.end);
  }
  out.put(static_cast<uint32_t>(timing.traffic.size()));
  for (const Traffic& traffic : timing.traffic) {
    out.put(traffic.plan);
    out.put(traffic.direction);
    out.put(traffic.messages);
    out.put(traffic.bytes);
  }
}

RankTiming get_timing(WireReader& in) {
  RankTiming timing;
  timing.rank = in.get<int32_t>();
  timing.compute_seconds = in.get<double>();
  timing.exchange_seconds = in.get<double>();
  timing.exchange_exposed_seconds = in.get<double>();
  timing.combine_seconds = in.get<double>();
  timing.switch_seconds = in.get<double>();
  timing.tokens = in.get<int64_t>();
  timing.bytes_sent = in.get<int64_t>();
  timing.messages_sent = in.get<int64_t>();
  timing.expert_rows = in.get_array<int64_t>();
  timing.spans.resize(in.get_count(kMinSpanBytes));
  for (TraceSpan& span : timing.spans) {
    span.operation = in.get_string();
    span.layer = in.get<int32_t>();
    span.begin = in.get<double>();
    span.end = in.get<double>();
  }
  timing.traffic.resize(in.get_count(kTrafficBytes));
  for (Traffic& traffic : timing.traffic) {
    const uint8_t plan = in.get<uint8_t>();
    const uint8_t direction = in.get<uint8_t>();
    if (plan > static_cast<uint8_t>(TrafficPlan::kCoherent) ||
        direction > static_cast<uint8_t>(TrafficDirection::kKeyValue)) {
      in.fail();
    }
    traffic.plan = static_cast<TrafficPlan>(plan);
    traffic.direction = static_cast<TrafficDirection>(direction);
    traffic.messages = in.get<int64_t>();
    traffic.bytes = in.get<int64_t>();
  }
  return timing;
}

void put_entries(WireWriter& out, const std::vector<RoutingCounts::Entry>& entries) {
  out.put(static_cast<uint32_t>(entries.size()));
  for (const RoutingCounts::Entry& entry : entries) {
    out.put(entry.index);
    out.put(entry.count);
  }
}

std::vector<RoutingCounts::Entry> get_entries(WireReader& in) {
  std::vector<RoutingCounts::Entry> entries(in.get_count(8));
  for (RoutingCounts::Entry& entry : entries) {
    entry.index = in.get<uint32_t>();
    entry.count = in.get<uint32_t>();
  }
  return entries;
}

void put_routing(WireWriter& out, const RoutingCounts& counts) {
  out.put(counts.rows);
  put_entries(out, counts.loads);
  put_entries(out, counts.transitions);
  put_entries(out, counts.pairs);
  out.put_array<uint16_t>(counts.samples);
  out.put_array<int32_t>(counts.sample_sequences);
}

RoutingCounts get_routing(WireReader& in) {
  RoutingCounts counts;
  counts.rows = in.get<int64_t>();
  counts.loads = get_entries(in);
  counts.transitions = get_entries(in);
  counts.pairs = get_entries(in);
  counts.samples = in.get_array<uint16_t>();
  counts.sample_sequences = in.get_array<int32_t>();
  return counts;
}

void put_update(WireWriter& out, const PlacementUpdate& update) {
  out.put(update.epoch);
  out.put(static_cast<uint32_t>(update.layers.size()));
  for (const LayerPlacement& layer : update.layers) {
    out.put(layer.moe_layer);
    out.put(static_cast<uint32_t>(layer.holders.size()));
    for (const std::vector<int32_t>& holders : layer.holders) out.put_array<int32_t>(holders);
  }
}

PlacementUpdate get_update(WireReader& in) {
  PlacementUpdate update;
  update.epoch = in.get<int64_t>();
  update.layers.resize(in.get_count(8));
  for (LayerPlacement& layer : update.layers) {
    layer.moe_layer = in.get<int32_t>();
    layer.holders.resize(in.get_count(4));
    for (std::vector<int32_t>& holders : layer.holders) holders = in.get_array<int32_t>();
  }
  return update;
}

absl::Status malformed(const char* what) {
  return absl::InvalidArgumentError(absl::StrCat(what, ": malformed bytes"));
}

}  // namespace

std::vector<std::byte> encode(const StepPlan& plan) {
  std::vector<std::byte> bytes;
  WireWriter out(&bytes);
  out.put(kPlanMagic);
  out.put(plan.step);
  out.put(plan.placement_epoch);
  out.put(plan.deadline_ms);
  out.put(static_cast<uint8_t>(plan.sleep));
  out.put(static_cast<uint8_t>(plan.trace));
  out.put(plan.log_level);
  out.put(static_cast<uint8_t>(plan.shared_kv));
  out.put(static_cast<uint8_t>(plan.report_routing));
  out.put(static_cast<uint8_t>(plan.may_be_followed));
  out.put(static_cast<uint8_t>(plan.record_routing));
  out.put(static_cast<uint8_t>(plan.prepare.has_value()));
  if (plan.prepare) put_update(out, *plan.prepare);
  out.put(static_cast<uint32_t>(plan.kv_moves.size()));
  for (const KvMove& move : plan.kv_moves) {
    out.put(move.from_rank);
    out.put(move.to_rank);
    out.put_array<int32_t>(move.from_blocks);
    out.put_array<int32_t>(move.to_blocks);
  }
  out.put(static_cast<uint32_t>(plan.chunks.size()));
  for (const SequenceChunk& chunk : plan.chunks) put_chunk(out, chunk);
  return bytes;
}

absl::StatusOr<StepPlan> decode_step_plan(std::span<const std::byte> bytes) {
  WireReader in(bytes);
  if (in.get<uint32_t>() != kPlanMagic) return malformed("step plan");
  StepPlan plan;
  plan.step = in.get<int64_t>();
  plan.placement_epoch = in.get<int64_t>();
  plan.deadline_ms = in.get<int32_t>();
  plan.sleep = in.get<uint8_t>() != 0;
  plan.trace = in.get<uint8_t>() != 0;
  plan.log_level = in.get<int8_t>();
  plan.shared_kv = in.get<uint8_t>() != 0;
  plan.report_routing = in.get<uint8_t>() != 0;
  plan.may_be_followed = in.get<uint8_t>() != 0;
  plan.record_routing = in.get<uint8_t>() != 0;
  if (in.get<uint8_t>() != 0) plan.prepare = get_update(in);
  plan.kv_moves.resize(in.get_count(16));
  for (KvMove& move : plan.kv_moves) {
    move.from_rank = in.get<int32_t>();
    move.to_rank = in.get<int32_t>();
    move.from_blocks = in.get_array<int32_t>();
    move.to_blocks = in.get_array<int32_t>();
  }
  const uint32_t count = in.get_count(kMinChunkBytes - 16);
  plan.chunks.reserve(count);
  for (uint32_t i = 0; i < count && in.ok(); ++i) plan.chunks.push_back(get_chunk(in));
  if (!in.ok() || !in.at_end()) return malformed("step plan");
  return plan;
}

std::vector<std::byte> encode(const StepResult& result) {
  std::vector<std::byte> bytes;
  WireWriter out(&bytes);
  out.put(kResultMagic);
  out.put(result.step);
  out.put(static_cast<uint32_t>(result.sequences.size()));
  for (const SequenceResult& sequence : result.sequences) put_sequence(out, sequence);
  out.put(static_cast<uint32_t>(result.ranks.size()));
  for (const RankTiming& timing : result.ranks) put_timing(out, timing);
  out.put(static_cast<uint32_t>(result.routing.size()));
  for (const RoutingCounts& counts : result.routing) put_routing(out, counts);
  out.put_array<uint32_t>(result.rows.places);
  out.put_array<uint16_t>(result.rows.experts);
  return bytes;
}

absl::StatusOr<StepResult> decode_step_result(std::span<const std::byte> bytes) {
  WireReader in(bytes);
  if (in.get<uint32_t>() != kResultMagic) return malformed("step result");
  StepResult result;
  result.step = in.get<int64_t>();
  const uint32_t sequences = in.get_count(kMinSequenceBytes);
  for (uint32_t i = 0; i < sequences && in.ok(); ++i) result.sequences.push_back(get_sequence(in));
  const uint32_t ranks = in.get_count(kMinRankBytes);
  for (uint32_t i = 0; i < ranks && in.ok(); ++i) result.ranks.push_back(get_timing(in));
  const uint32_t routing = in.get_count(kMinRoutingBytes);
  for (uint32_t i = 0; i < routing && in.ok(); ++i) result.routing.push_back(get_routing(in));
  result.rows.places = in.get_array<uint32_t>();
  result.rows.experts = in.get_array<uint16_t>();
  if (!in.ok() || !in.at_end()) return malformed("step result");
  return result;
}

}  // namespace conclave::protocol
