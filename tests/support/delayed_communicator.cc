#include "tests/support/delayed_communicator.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "base/status_macros.h"

namespace conclave::comm {
namespace {

const char* kind_name(CommEvent::Kind kind) {
  switch (kind) {
    case CommEvent::Kind::kBegin:
      return "begin";
    case CommEvent::Kind::kProgress:
      return "progress";
    case CommEvent::Kind::kFinish:
      return "finish";
    case CommEvent::Kind::kRelease:
      return "release";
    case CommEvent::Kind::kBroadcast:
      return "broadcast";
    case CommEvent::Kind::kGather:
      return "gather";
    case CommEvent::Kind::kBarrier:
      return "barrier";
  }
  return "?";
}

}  // namespace

std::string event_text(const CommEvent& event) {
  return std::string(kind_name(event.kind)) + " " + event.operation + " " +
         std::to_string(event.layer);
}

DelayedCommunicator::InFlight& DelayedCommunicator::in_flight(ExchangeTicket ticket) {
  const auto slot = static_cast<size_t>(std::max(ticket.slot, 0));
  if (slot >= in_flight_.size()) in_flight_.resize(slot + 1);
  return in_flight_[slot];
}

CommEvent& DelayedCommunicator::record(CommEvent::Kind kind, ExchangeTicket ticket) {
  CommEvent event = in_flight(ticket).begin;
  event.kind = kind;
  event.slot = ticket.slot;
  event.time_us = clock_->now_us();
  event.bytes = 0;
  return events_.emplace_back(std::move(event));
}

void DelayedCommunicator::record(CommEvent::Kind kind, const OpContext& context) {
  CommEvent event;
  event.kind = kind;
  event.operation = std::string(context.operation);
  event.layer = context.layer;
  event.step = context.step;
  event.time_us = clock_->now_us();
  events_.push_back(std::move(event));
}

absl::StatusOr<ExchangeTicket> DelayedCommunicator::begin_exchange(
    const OpContext& context, std::span<const std::span<const std::byte>> send) {
  ASSIGN_OR_RETURN(const ExchangeTicket ticket, inner_->begin_exchange(context, send));
  record(CommEvent::Kind::kBegin, context);
  CommEvent& event = events_.back();
  event.slot = ticket.slot;
  for (int peer = 0; peer < size(); ++peer) {
    if (peer != rank()) event.bytes += static_cast<int64_t>(send[peer].size());
  }
  in_flight(ticket) = InFlight{event, event.time_us + delay_us_};
  return ticket;
}

absl::StatusOr<bool> DelayedCommunicator::progress(ExchangeTicket ticket) {
  ASSIGN_OR_RETURN(bool arrived, inner_->progress(ticket));
  const bool ready = clock_->now_us() >= in_flight(ticket).ready_us;
  while (ready && !arrived) {
    std::this_thread::yield();
    ASSIGN_OR_RETURN(arrived, inner_->progress(ticket));
  }
  record(CommEvent::Kind::kProgress, ticket).ready = ready;
  if (!ready) clock_->advance_us(1);  // so that polling ends
  return ready;
}

absl::Status DelayedCommunicator::finish_exchange(ExchangeTicket ticket,
                                                  std::span<std::span<const std::byte>> received) {
  RETURN_IF_ERROR(inner_->finish_exchange(ticket, received));
  CommEvent& event = record(CommEvent::Kind::kFinish, ticket);
  event.wait_us = std::max<int64_t>(0, in_flight(ticket).ready_us - event.time_us);
  exposed_wait_us_ += event.wait_us;
  clock_->advance_us(event.wait_us);
  return absl::OkStatus();
}

void DelayedCommunicator::release_exchange(ExchangeTicket ticket) {
  record(CommEvent::Kind::kRelease, ticket);
  inner_->release_exchange(ticket);
}

absl::Status DelayedCommunicator::broadcast(const OpContext& context, int root,
                                            std::vector<std::byte>* bytes) {
  record(CommEvent::Kind::kBroadcast, context);
  return inner_->broadcast(context, root, bytes);
}

absl::StatusOr<std::vector<std::vector<std::byte>>> DelayedCommunicator::gather(
    const OpContext& context, int root, std::span<const std::byte> bytes) {
  record(CommEvent::Kind::kGather, context);
  return inner_->gather(context, root, bytes);
}

absl::Status DelayedCommunicator::barrier(const OpContext& context) {
  record(CommEvent::Kind::kBarrier, context);
  return inner_->barrier(context);
}

}  // namespace conclave::comm
