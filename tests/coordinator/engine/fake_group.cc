#include "fake_group.h"

#include <utility>

#include "comm/channel/local_channel.h"
#include "protocol/messages.h"

namespace conclave::coordinator {
namespace {

using protocol::MessageType;

constexpr int64_t kHealthPeriodMs = 100;
constexpr int64_t kNextPlanMs = 3000;  // not every step that may be followed is

bool send(comm::Channel& channel, MessageType type, const std::vector<std::byte>& payload) {
  return channel.send(static_cast<uint16_t>(type), payload, Deadline::after_ms(5000)).ok();
}

bool send_health(comm::Channel& channel) {
  return send(channel, MessageType::kHealth, protocol::encode(protocol::Health{0, -1, "idle", 0}));
}

// The next frame; sends heartbeats while waiting. Nothing once the connection is gone.
std::optional<comm::Frame> receive(comm::Channel& channel) {
  while (true) {
    auto frame = channel.receive(Deadline::after_ms(kHealthPeriodMs));
    if (frame.ok()) return *std::move(frame);
    if (!absl::IsDeadlineExceeded(frame.status()) || !send_health(channel)) return std::nullopt;
  }
}

}  // namespace

ConnectedEnds make_connected_ends(int32_t ranks) {
  ConnectedEnds ends;
  for (int32_t rank = 0; rank < ranks; ++rank) {
    auto [channel, peer] = comm::make_local_channel();
    ends.channels.push_back(std::move(channel));
    ends.peers.push_back(std::move(peer));
  }
  return ends;
}

FakeGroup::FakeGroup(FakeGroupOptions options, std::vector<std::unique_ptr<comm::Channel>> channels)
    : options_(std::move(options)),
      channels_(std::move(channels)),
      model_(std::vector<int32_t>(static_cast<size_t>(options_.ranks), options_.kv_blocks),
             options_.vocab),
      broadcasts_(static_cast<size_t>(options_.ranks)) {
  for (int32_t rank = 0; rank < options_.ranks; ++rank) {
    threads_.emplace_back([this, rank] { run_rank(rank); });
  }
}

FakeGroup::~FakeGroup() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    held_ = false;
    changed_.notify_all();
  }
  for (auto& channel : channels_) channel->close();
  for (std::thread& thread : threads_) thread.join();
}

void FakeGroup::note(const std::string& problem) {
  const std::lock_guard lock(mutex_);
  problems_.push_back(problem);
}

std::vector<std::string> FakeGroup::problems() const {
  const std::lock_guard lock(mutex_);
  return problems_;
}
int64_t FakeGroup::sleeps() const {
  const std::lock_guard lock(mutex_);
  return sleeps_;
}
int64_t FakeGroup::steps() const {
  const std::lock_guard lock(mutex_);
  return steps_;
}
int64_t FakeGroup::ahead_rows() const {
  const std::lock_guard lock(mutex_);
  return ahead_rows_;
}
void FakeGroup::hold() {
  const std::lock_guard lock(mutex_);
  held_ = true;
}
void FakeGroup::let_go() {
  const std::lock_guard lock(mutex_);
  held_ = false;
  changed_.notify_all();
}
void FakeGroup::wait_until_holding() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return holding_ || ended_; });
}

void FakeGroup::run_rank(int32_t rank) {
  if (join(rank)) {
    while (rank == 0 ? run_leader() : run_follower(rank)) {
    }
  }
  channel(rank).close();
  const std::lock_guard lock(mutex_);
  ended_ = true;  // one rank's end is the group's, as under MPI
  changed_.notify_all();
}

bool FakeGroup::join(int32_t rank) {
  protocol::Join join;
  join.rank = rank;
  join.size = options_.ranks;
  join.host = "testhost";
  join.pid = 100 + rank;
  join.cores = 2;
  join.kernel_sets = {"fake"};
  if (!send(channel(rank), MessageType::kJoin, protocol::encode(join))) return false;
  const auto frame = receive(channel(rank));
  if (!frame || frame->type != static_cast<uint16_t>(MessageType::kConfigure)) return false;
  protocol::Ready ready;
  ready.kv_blocks = options_.kv_blocks;
  ready.model_fingerprint = options_.fingerprint;
  return send(channel(rank), MessageType::kReady, protocol::encode(ready));
}

bool FakeGroup::run_leader() {
  const auto frame = receive(channel(0));
  if (!frame || frame->type == static_cast<uint16_t>(MessageType::kShutdown)) return false;
  if (frame->type != static_cast<uint16_t>(MessageType::kPlan)) {
    note("rank 0 received something that is not a plan");
    return true;
  }
  auto plan = protocol::decode_step_plan(frame->payload);
  if (!plan.ok()) {
    note(std::string(plan.status().message()));
    return false;
  }
  {
    const std::lock_guard lock(mutex_);
    for (Broadcast& broadcast : broadcasts_) broadcast.plans.push_back(*plan);
    (plan->sleep ? sleeps_ : steps_) += 1;
    changed_.notify_all();
  }
  return plan->sleep || answer(*plan);
}

bool FakeGroup::answer(const protocol::StepPlan& plan) {
  if (!options_.die_with_next && plan.step == options_.die_at_step) return false;
  if (options_.die_with_next && options_.die_at_step >= 0 && plan.step >= options_.die_at_step &&
      plan.may_be_followed && channel(0).receive(Deadline::after_ms(kNextPlanMs)).ok()) {
    return false;
  }
  {
    std::unique_lock lock(mutex_);
    holding_ = held_;
    changed_.notify_all();
    while (!changed_.wait_for(lock, std::chrono::milliseconds(kHealthPeriodMs),
                              [this] { return !held_; })) {
      send_health(channel(0));
    }
    holding_ = false;
  }
  auto result = model_.run(plan);
  for (protocol::SequenceResult& sequence : result.sequences) {
    sequence.finite = options_.finite || !sequence.sampled;
    if (options_.parrot && sequence.sampled) sequence.token = *options_.parrot;
    if (options_.logits.empty()) continue;
    const size_t rows = sequence.logits.size();  // one number each
    sequence.logits.clear();
    for (size_t row = 0; row < rows; ++row)
      sequence.logits.insert(sequence.logits.end(), options_.logits.begin(), options_.logits.end());
  }
  for (const std::string& problem : model_.problems()) note(problem);
  {
    const std::lock_guard lock(mutex_);
    ahead_rows_ = model_.ahead_rows();
  }
  return send(channel(0), MessageType::kResult, protocol::encode(result));
}

bool FakeGroup::run_follower(int32_t rank) {
  const auto frame = receive(channel(rank));
  if (!frame || frame->type == static_cast<uint16_t>(MessageType::kShutdown)) return false;
  if (frame->type != static_cast<uint16_t>(MessageType::kWake)) {
    note("a sleeping rank received something that is not Wake");
    return true;
  }
  std::unique_lock lock(mutex_);
  auto& plans = broadcasts_[static_cast<size_t>(rank)].plans;
  while (true) {
    while (!changed_.wait_for(lock, std::chrono::milliseconds(kHealthPeriodMs),
                              [&] { return ended_ || !plans.empty(); })) {
      send_health(channel(rank));
    }
    if (plans.empty()) return false;
    const bool sleep = plans.front().sleep;
    plans.pop_front();
    if (sleep) return true;
  }
}

}  // namespace conclave::coordinator
