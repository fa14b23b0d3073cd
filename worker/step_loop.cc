#include "worker/step_loop.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "protocol/messages.h"

namespace conclave::worker {
namespace {

using protocol::MessageType;

// Waiting for work has no natural end; it is cut into pieces so that every call has a deadline.
constexpr int64_t kFrameWaitMs = 60 * 1000;
// Rank 0 may wait this long between two plans before the coordinator puts the group to sleep.
constexpr int64_t kPlanWaitMs = 120 * 1000;
constexpr int64_t kFollowerPatience = 2;
// Looking at the channel costs a system call, looking at the device does not.
constexpr int kSpinsBeforeLooking = 16;
constexpr int32_t kSleepDeadlineMs = 5000;
constexpr int64_t kSendDeadlineMs = 10 * 1000;

MessageType type_of(const comm::Frame& frame) { return static_cast<MessageType>(frame.type); }

absl::Status unexpected(const comm::Frame& frame, const char* where) {
  return absl::InvalidArgumentError(
      absl::StrCat("the coordinator sent a frame of type ", frame.type, " while ", where));
}

}  // namespace

absl::Status StepLoop::run() {
  set_log_rank(communicator_->rank());
  return communicator_->rank() == 0 ? lead() : follow();
}

absl::StatusOr<comm::Frame> StepLoop::next_frame() {
  progress_->enter("idle");
  if (held_) return *std::exchange(held_, std::nullopt);
  while (true) {
    absl::StatusOr<comm::Frame> frame = channel_->receive(Deadline::after_ms(kFrameWaitMs));
    if (!absl::IsDeadlineExceeded(frame.status())) return frame;
  }
}

absl::Status StepLoop::lead() {
  while (true) {
    absl::StatusOr<comm::Frame> frame = next_frame();
    if (absl::IsUnavailable(frame.status())) return put_group_to_sleep();
    RETURN_IF_ERROR(frame.status());
    if (type_of(*frame) == MessageType::kShutdown) return put_group_to_sleep();
    if (type_of(*frame) != MessageType::kPlan) return unexpected(*frame, "rank 0 waited for a plan");
    ASSIGN_OR_RETURN(protocol::StepPlan plan, protocol::decode_step_plan(frame->payload));
    RETURN_IF_ERROR(broadcast(&frame->payload, plan.deadline_ms));
    awake_ = !plan.sleep;
    if (plan.sleep) {
      log_debug("the rank goes to sleep");
      continue;
    }
    RETURN_IF_ERROR(begin(std::move(plan)));
    RETURN_IF_ERROR(lead_in_flight());
  }
}

bool StepLoop::looks_for_next_plan() const {
  return in_flight_.size() == 1 && rank_->overlaps(in_flight_.front());
}

// Until no step is in flight.
absl::Status StepLoop::lead_in_flight() {
  while (!in_flight_.empty()) {
    if (looks_for_next_plan()) {
      ASSIGN_OR_RETURN(const bool came, lead_next_plan());
      if (came) continue;
    }
    RETURN_IF_ERROR(finish_oldest());
  }
  return absl::OkStatus();
}

// True: the next plan came before the step in flight had ended, and has begun on all ranks.
absl::StatusOr<bool> StepLoop::lead_next_plan() {
  ASSIGN_OR_RETURN(std::optional<comm::Frame> frame, wait_for_plan_or_end());
  std::optional<protocol::StepPlan> plan;
  if (frame && type_of(*frame) == MessageType::kPlan) {
    ASSIGN_OR_RETURN(plan, protocol::decode_step_plan(frame->payload));
    if (plan->sleep) plan.reset();
  }
  const int32_t deadline_ms = in_flight_.front().deadline_ms;
  if (plan) {
    RETURN_IF_ERROR(broadcast(&frame->payload, deadline_ms));
    RETURN_IF_ERROR(begin(*std::move(plan)));
    return true;
  }
  held_ = std::move(frame);
  std::vector<std::byte> nothing;
  RETURN_IF_ERROR(broadcast(&nothing, deadline_ms));
  return false;
}

// Whichever is first; no frame: the step in flight has ended, or the coordinator is gone.
absl::StatusOr<std::optional<comm::Frame>> StepLoop::wait_for_plan_or_end() {
  for (int spins = 0;; ++spins) {
    if (spins % kSpinsBeforeLooking == 0) {
      absl::StatusOr<comm::Frame> frame = channel_->receive(Deadline::after_ms(0));
      if (frame.ok()) return *std::move(frame);
      if (absl::IsUnavailable(frame.status())) return std::nullopt;
      if (!absl::IsDeadlineExceeded(frame.status())) return frame.status();
    }
    ASSIGN_OR_RETURN(const bool ended, rank_->done());
    if (ended) return std::nullopt;
  }
}

// The others wait in a broadcast while the group is awake; on their sockets they find their own Shutdown,
// or that the coordinator is gone.
absl::Status StepLoop::put_group_to_sleep() {
  if (!awake_) return absl::OkStatus();
  awake_ = false;
  protocol::StepPlan plan;
  plan.sleep = true;
  std::vector<std::byte> bytes = protocol::encode(plan);
  return broadcast(&bytes, kSleepDeadlineMs);
}

absl::Status StepLoop::follow() {
  while (true) {
    absl::StatusOr<comm::Frame> frame = next_frame();
    if (absl::IsUnavailable(frame.status())) return absl::OkStatus();
    RETURN_IF_ERROR(frame.status());
    if (type_of(*frame) == MessageType::kShutdown) return absl::OkStatus();
    if (type_of(*frame) != MessageType::kWake) return unexpected(*frame, "the rank was asleep");
    RETURN_IF_ERROR(follow_until_sleep());
  }
}

absl::Status StepLoop::follow_until_sleep() {
  std::vector<std::byte> bytes;
  while (true) {
    if (!in_flight_.empty() && !looks_for_next_plan()) {
      RETURN_IF_ERROR(finish_oldest());
      continue;
    }
    int64_t deadline_ms = kPlanWaitMs;
    if (in_flight_.empty()) {
      progress_->enter("idle");
    } else {
      // Rank 0's own deadline comes first, and its error says what was late.
      deadline_ms = kFollowerPatience * in_flight_.front().deadline_ms;
      RETURN_IF_ERROR(rank_->done().status());
    }
    RETURN_IF_ERROR(broadcast(&bytes, deadline_ms));
    if (bytes.empty() && !in_flight_.empty()) {
      RETURN_IF_ERROR(finish_oldest());
      continue;
    }
    ASSIGN_OR_RETURN(protocol::StepPlan plan, protocol::decode_step_plan(bytes));
    if (plan.sleep) {
      log_debug("the rank goes to sleep");
      return absl::OkStatus();
    }
    RETURN_IF_ERROR(begin(std::move(plan)));
  }
}

absl::Status StepLoop::broadcast(std::vector<std::byte>* bytes, int64_t deadline_ms) {
  if (communicator_->size() == 1) return absl::OkStatus();
  const comm::OpContext context{"plan broadcast", -1, -1, Deadline::after_ms(deadline_ms)};
  return communicator_->broadcast(context, 0, bytes);
}

absl::Status StepLoop::begin(protocol::StepPlan plan) {
  if (in_flight_.empty()) set_log_step(plan.step);
  if (plan.log_level >= 0) set_log_level(static_cast<LogLevel>(std::min<int8_t>(plan.log_level, 3)));
  // Where it stays: what runs points into it.
  in_flight_.push_back(std::move(plan));
  return rank_->enqueue(in_flight_.back());
}

absl::Status StepLoop::finish_oldest() {
  const protocol::StepPlan& plan = in_flight_.front();
  set_log_step(plan.step);
  RETURN_IF_ERROR(rank_->finish());
  protocol::StepResult result;
  result.step = plan.step;
  rank_->append_result(plan, &result);
  std::vector<std::vector<std::byte>> parts;
  if (communicator_->size() > 1) {
    progress_->enter("result gather");
    const std::vector<std::byte> own =
        communicator_->rank() == 0 ? std::vector<std::byte>() : protocol::encode(result);
    const comm::OpContext context{"result gather", -1, plan.step,
                                  Deadline::after_ms(plan.deadline_ms)};
    ASSIGN_OR_RETURN(parts, communicator_->gather(context, 0, own));
  }
  if (communicator_->rank() == 0) {
    RETURN_IF_ERROR(send_result(plan, std::move(result), std::move(parts)));
  }
  in_flight_.pop_front();
  return absl::OkStatus();
}

absl::Status StepLoop::send_result(const protocol::StepPlan& plan, protocol::StepResult result,
                                   std::vector<std::vector<std::byte>> parts) {
  for (size_t rank = 1; rank < parts.size(); ++rank) {
    ASSIGN_OR_RETURN(protocol::StepResult part, protocol::decode_step_result(parts[rank]));
    if (part.step != plan.step) {
      return absl::InternalError(absl::StrCat("rank ", rank, " (host ",
                                              communicator_->host(static_cast<int>(rank)),
                                              ") returned step ", part.step, " for ", plan.step));
    }
    std::move(part.sequences.begin(), part.sequences.end(), std::back_inserter(result.sequences));
    std::move(part.ranks.begin(), part.ranks.end(), std::back_inserter(result.ranks));
    std::move(part.routing.begin(), part.routing.end(), std::back_inserter(result.routing));
    result.rows.add(part.rows);
  }
  progress_->enter("send result");
  return channel_->send(static_cast<uint16_t>(MessageType::kResult), protocol::encode(result),
                        Deadline::after_ms(kSendDeadlineMs));
}

}  // namespace conclave::worker
