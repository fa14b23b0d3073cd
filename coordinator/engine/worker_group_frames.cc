// The second half of WorkerGroup: what joined ranks say, and how their state is put into words.

#include <algorithm>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/log.h"
#include "coordinator/engine/worker_group.h"

namespace conclave::coordinator {
namespace {

double seconds_between(WorkerGroup::Time from, WorkerGroup::Time to) {
  return std::chrono::duration<double>(to - from).count();
}

}  // namespace

void WorkerGroup::handle_rank_frame(int32_t rank, const comm::Frame& frame, Time now) {
  Rank& record = rank_at(rank);
  absl::Status malformed;
  switch (static_cast<protocol::MessageType>(frame.type)) {
    case protocol::MessageType::kLoadProgress: {
      auto progress = protocol::decode_load_progress(frame.payload);
      malformed = progress.status();
      if (progress.ok()) record.load = *progress;
      record.load_at = now;
      break;
    }
    case protocol::MessageType::kReady:
      return handle_ready(rank, frame, now);
    case protocol::MessageType::kHealth: {
      auto health = protocol::decode_health(frame.payload);
      malformed = health.status();
      if (!health.ok()) break;
      record.health = *std::move(health);
      record.health_at = now;
      break;
    }
    case protocol::MessageType::kPrepared: {
      auto prepared = protocol::decode_prepared(frame.payload);
      malformed = prepared.status();
      if (prepared.ok()) events_.push_back(GroupPrepared{rank, *std::move(prepared)});
      break;
    }
    case protocol::MessageType::kResult:
      return handle_result(rank, frame, now);
    case protocol::MessageType::kFailure: {
      auto failure = protocol::decode_failure(frame.payload);
      const bool refusal = failure.ok() && failure->lasting;
      return fail(failure.ok() ? failure->message
                               : absl::StrCat(describe(rank), " failed ", doing(rank, now)),
                  now, refusal ? FailureKind::kRefusal : FailureKind::kDeath);
    }
    case protocol::MessageType::kBye:
      return;  // the connection closes next
    default:
      malformed = absl::InvalidArgumentError(
          absl::StrCat("frame type ", frame.type, " is not for the coordinator"));
  }
  if (!malformed.ok()) {
    fail(absl::StrCat(describe(rank),
                      " sent what it should not: ", std::string(malformed.message())),
         now);
  }
}

void WorkerGroup::handle_ready(int32_t rank, const comm::Frame& frame, Time now) {
  auto ready = protocol::decode_ready(frame.payload);
  // A ledger of more blocks would not fit the coordinator's memory.
  constexpr int32_t kMostBlocks = 1 << 24;
  if (!ready.ok() || state_ != GroupState::kLoading || ready->kv_blocks <= 0 ||
      ready->kv_blocks > kMostBlocks) {
    return fail(absl::StrCat(describe(rank), " sent an impossible Ready: ",
                             ready.ok() ? absl::StrCat(ready->kv_blocks, " K/V blocks (1 to ",
                                                       kMostBlocks, ") while ",
                                                       group_state_name(state_))
                                        : std::string(ready.status().message())),
                now);
  }
  rank_at(rank).ready = *std::move(ready);
  std::vector<protocol::Ready> all;
  for (const Rank& other : ranks_) {
    if (!other.ready) return;
    if (other.ready->model_fingerprint != ranks_.front().ready->model_fingerprint) {
      return fail(absl::StrCat(describe(other.join.rank), " has loaded another model (",
                               other.ready->model_fingerprint, ") than rank 0 (",
                               ranks_.front().ready->model_fingerprint,
                               "); check that both hosts see the same files"),
                  now, FailureKind::kRefusal);
    }
    all.push_back(*other.ready);
  }
  state_ = GroupState::kReady;
  state_since_ = now;
  for (Rank& other : ranks_) other.heard = now;  // heartbeats count from here
  events_.push_back(GroupReady{std::move(all), kernel_set_});
}

void WorkerGroup::handle_result(int32_t rank, const comm::Frame& frame, Time now) {
  if (rank != 0 || !step_in_flight()) {
    return fail(absl::StrCat(describe(rank), " sent a step result that nobody waits for"), now);
  }
  auto result = protocol::decode_step_result(frame.payload);
  if (!result.ok()) {
    return fail(absl::StrCat(describe(rank), " sent a malformed result of step ",
                             in_flight_.front().step, ": ", std::string(result.status().message())),
                now);
  }
  const double taken = seconds_between(step_began_, now);
  in_flight_.pop_front();
  step_began_ = now;
  events_.push_back(GroupResult{*std::move(result), taken});
}

std::string WorkerGroup::describe(int32_t rank) const {
  const protocol::Join& join = rank_at(rank).join;
  return absl::StrCat("rank ", rank, " (host ", join.host, ", pid ", join.pid, ")");
}

double WorkerGroup::operation_age_seconds(const Rank& rank, Time now) const {
  return rank.health ? rank.health->operation_age_seconds + seconds_between(rank.health_at, now)
                     : 0;
}

int32_t WorkerGroup::witness(int32_t rank, Time since) const {
  if (!step_in_flight()) return -1;
  for (int32_t other = 0; other < options_.ranks; ++other) {
    const Rank& record = rank_at(other);
    if (other != rank && record.health && record.health_at >= since &&
        record.health->step >= in_flight_.front().step) {
      return other;
    }
  }
  return -1;
}

std::string WorkerGroup::doing(int32_t rank, Time now) const {
  const Rank& record = rank_at(rank);
  if (step_in_flight() && (!record.health || record.health->step < in_flight_.front().step)) {
    std::string text = absl::StrFormat("in step %d, %.2f s after it began", in_flight_.front().step,
                                       seconds_between(step_began_, now));
    const int32_t other = witness(rank, step_began_);
    if (other < 0 && !record.health) return text + ", before any heartbeat named a layer";
    if (other < 0) {
      return absl::StrFormat("%s; its last heartbeat, %.2f s ago, said step %d, layer %d, operation '%s'",
                             text, seconds_between(record.health_at, now), record.health->step,
                             record.health->layer, record.health->operation);
    }
    const protocol::Health& health = *rank_at(other).health;
    return absl::StrFormat("%s; %s misses it in layer %d, operation '%s' begun %.2f s ago", text,
                           describe(other), health.layer, health.operation,
                           operation_age_seconds(rank_at(other), now));
  }
  if (state_ == GroupState::kLoading && record.load.bytes_total > 0 && !record.ready) {
    return absl::StrFormat("while loading the model (%d of %d MiB read), %.2f s after the last word from it",
                           record.load.bytes_done >> 20, record.load.bytes_total >> 20,
                           seconds_between(record.heard, now));
  }
  if (!record.health || (record.health->step < 0 && state_ == GroupState::kLoading)) {
    return absl::StrFormat("while %s, %.2f s after the last word from it", group_state_name(state_),
                           seconds_between(record.heard, now));
  }
  const protocol::Health& health = *record.health;
  if (state_ == GroupState::kReady && !step_in_flight()) {
    return absl::StrFormat("between steps, %.2f s after the last word from it",
                           seconds_between(record.heard, now));
  }
  return absl::StrFormat("in step %d, layer %d, operation '%s' begun %.2f s ago", health.step,
                         health.layer, health.operation, operation_age_seconds(record, now));
}

// The rank that is furthest behind: the others wait for it.
int32_t WorkerGroup::slowest_rank(Time now) const {
  const auto progress = [&](const Rank& rank) {
    const protocol::Health health = rank.health.value_or(protocol::Health{});
    return std::make_tuple(health.step, health.layer, -operation_age_seconds(rank, now));
  };
  const auto slowest =
      std::min_element(ranks_.begin(), ranks_.end(),
                       [&](const Rank& a, const Rank& b) { return progress(a) < progress(b); });
  return static_cast<int32_t>(slowest - ranks_.begin());
}

std::vector<RankStatus> WorkerGroup::rank_status(Time now) const {
  std::vector<RankStatus> result;
  for (int32_t r = 0; r < options_.ranks && !ranks_.empty(); ++r) {
    const Rank& rank = rank_at(r);
    RankStatus status;
    status.rank = r;
    status.host = rank.join.host;
    status.pid = rank.join.pid;
    status.connected =
        connections_.contains(rank.connection) && !connections_.at(rank.connection).closing;
    if (rank.health) {
      status.step = rank.health->step;
      status.layer = rank.health->layer;
      status.operation = rank.health->operation;
      status.operation_age_seconds = operation_age_seconds(rank, now);
    }
    if (rank.connection != 0) status.heartbeat_age_seconds = seconds_between(rank.heard, now);
    status.load_bytes_done = rank.load.bytes_done;
    status.load_bytes_total = rank.load.bytes_total;
    if (rank.ready) {
      status.kv_blocks = rank.ready->kv_blocks;
      status.weight_bytes = rank.ready->weight_bytes;
      status.kv_bytes = rank.ready->kv_bytes;
      status.load_seconds = rank.ready->load_seconds;
      status.exchange_latency_seconds = rank.ready->exchange_latency_seconds;
      status.exchange_bytes_per_second = rank.ready->exchange_bytes_per_second;
    }
    result.push_back(std::move(status));
  }
  return result;
}

}  // namespace conclave::coordinator
