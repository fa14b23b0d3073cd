#include "comm/collectives/message_communicator.h"

#include <utility>

#include "base/status_macros.h"
#include "comm/collectives/failure_text.h"
#include "comm/collectives/wait_rule.h"

namespace conclave::comm {

MessageCommunicator::MessageCommunicator(std::unique_ptr<MessagePort> port)
    : port_(std::move(port)), crowded_(host_is_crowded(*port_)), collective_(port_.get(), 0) {}

MessageCommunicator::~MessageCommunicator() {
  if (!port_->abandon()) return;
  for (auto& slot : slots_) slot->messages.leak_buffers();
  collective_.leak_buffers();
}

int MessageCommunicator::next_tag(TagSpace space) {
  constexpr uint32_t kTagsPerSpace = kTagLimit / static_cast<uint32_t>(TagSpace::kCount);
  uint32_t& next = next_tag_[static_cast<size_t>(space)];
  const uint32_t tag = static_cast<uint32_t>(space) * kTagsPerSpace + next;
  next = (next + 1) % kTagsPerSpace;
  return static_cast<int>(tag);
}

absl::Status MessageCommunicator::fail(const OpContext& context, const absl::Status& status) {
  const std::string text = name_operation(*port_, context) + ": " + std::string(status.message());
  broken_ = absl::Status(status.code(), text);
  return broken_;
}

absl::Status MessageCommunicator::deadline_error(const PendingMessages& messages,
                                                 const OpContext& context, int relay_of) const {
  std::string text = name_operation(*port_, context) + ": ";
  const std::vector<int> silent = messages.silent_peers();
  const std::vector<int> unreceptive = messages.unreceptive_peers();
  if (!silent.empty()) text += "no data from " + name_ranks(*port_, silent);
  if (!silent.empty() && relay_of >= 0 && relay_of != silent.front()) {
    text += ", which passes on what " + name_rank(*port_, relay_of) + " sends,";
  }
  if (!unreceptive.empty()) {
    if (!silent.empty()) text += " and ";
    text += "data not taken by " + name_ranks(*port_, unreceptive);
  }
  return absl::DeadlineExceededError(text + " " + name_age(context.deadline));
}

absl::Status MessageCommunicator::poll_exchanges() {
  for (auto& slot : slots_) {
    if (!slot->in_use) continue;
    if (absl::Status status = slot->messages.poll(); !status.ok()) {
      return fail(slot->context, status);
    }
  }
  return absl::OkStatus();
}

absl::Status MessageCommunicator::wait(PendingMessages* messages, const OpContext& context,
                                       int relay_of) {
  WaitRule rule(port_.get(), crowded_);
  while (true) {
    // Traffic of all exchanges moves in any wait: a peer may be waiting for another one of ours.
    RETURN_IF_ERROR(poll_exchanges());
    if (absl::Status status = messages->poll(); !status.ok()) return fail(context, status);
    if (messages->complete()) return absl::OkStatus();
    if (context.deadline.expired()) {
      broken_ = deadline_error(*messages, context, relay_of);
      return broken_;
    }
    rule.pause(context.deadline.remaining());
  }
}

absl::Status MessageCommunicator::reserve(size_t max_bytes_per_peer, int max_in_flight) {
  RETURN_IF_ERROR(broken_);
  if (max_bytes_per_peer > kMaxMessageBytes || max_in_flight < 1 || max_in_flight > kMaxInFlight) {
    return absl::InvalidArgumentError(
        "cannot reserve " + std::to_string(max_in_flight) + " exchanges in flight with " +
        std::to_string(max_bytes_per_peer) + " bytes a peer; the limits are " +
        std::to_string(kMaxInFlight) + " and " + std::to_string(kMaxMessageBytes));
  }
  max_bytes_per_peer_ = max_bytes_per_peer;
  // A port may hand receive memory round, so small buffers here would spread to the exchanges.
  collective_.reserve(max_bytes_per_peer);
  for (auto& slot : slots_) {
    if (!slot->in_use) slot->messages.reserve(max_bytes_per_peer);
  }
  while (slots_.size() < static_cast<size_t>(max_in_flight)) {
    slots_.push_back(std::make_unique<Slot>(port_.get(), max_bytes_per_peer));
  }
  // A peer may be ahead by as many exchanges as may be in flight; the extra ones are collectives.
  const int messages = (2 * max_in_flight + 4) * (size() - 1);
  return port_->reserve(max_bytes_per_peer, messages);
}

absl::StatusOr<MessageCommunicator::Slot*> MessageCommunicator::free_slot(ExchangeTicket* ticket) {
  for (size_t s = 0; s < slots_.size(); ++s) {
    if (slots_[s]->in_use) continue;
    ticket->slot = static_cast<int32_t>(s);
    return slots_[s].get();
  }
  if (slots_.size() >= kMaxInFlight) {
    return absl::ResourceExhaustedError(std::to_string(kMaxInFlight) +
                                        " exchanges are in flight; release them");
  }
  ticket->slot = static_cast<int32_t>(slots_.size());
  slots_.push_back(std::make_unique<Slot>(port_.get(), max_bytes_per_peer_));
  return slots_.back().get();
}

absl::StatusOr<MessageCommunicator::Slot*> MessageCommunicator::slot_of(ExchangeTicket ticket) {
  const auto index = static_cast<size_t>(ticket.slot);
  if (ticket.slot < 0 || index >= slots_.size() || !slots_[index]->in_use) {
    return absl::InvalidArgumentError("ticket " + std::to_string(ticket.slot) +
                                      " names no exchange in flight");
  }
  return slots_[index].get();
}

absl::StatusOr<ExchangeTicket> MessageCommunicator::begin_exchange(
    const OpContext& context, std::span<const std::span<const std::byte>> send) {
  RETURN_IF_ERROR(broken_);
  if (send.size() != static_cast<size_t>(size())) {
    return fail(context,
                absl::InvalidArgumentError("got messages for " + std::to_string(send.size()) +
                                           " ranks, want " + std::to_string(size())));
  }
  ExchangeTicket ticket;
  absl::StatusOr<Slot*> found = free_slot(&ticket);
  if (!found.ok()) return fail(context, found.status());
  Slot* slot = *found;
  slot->in_use = true;
  slot->context = context;
  slot->messages.start(next_tag(TagSpace::kExchange));
  // Starting with the next rank spreads the load: not all ranks send to rank 0 first.
  for (int i = 1; i < size(); ++i) {
    const int peer = (rank() + i) % size();
    slot->messages.expect(peer);
    if (absl::Status status = slot->messages.send(peer, send[peer]); !status.ok()) {
      return fail(context, status);
    }
  }
  return ticket;
}

absl::StatusOr<bool> MessageCommunicator::progress(ExchangeTicket ticket) {
  RETURN_IF_ERROR(broken_);
  ASSIGN_OR_RETURN(Slot * slot, slot_of(ticket));
  RETURN_IF_ERROR(poll_exchanges());
  return slot->messages.complete();
}

absl::Status MessageCommunicator::finish_exchange(ExchangeTicket ticket,
                                                  std::span<std::span<const std::byte>> received) {
  RETURN_IF_ERROR(broken_);
  ASSIGN_OR_RETURN(Slot * slot, slot_of(ticket));
  if (received.size() != static_cast<size_t>(size())) {
    return absl::InvalidArgumentError("finish_exchange needs one entry for each of " +
                                      std::to_string(size()) + " ranks");
  }
  RETURN_IF_ERROR(wait(&slot->messages, slot->context));
  for (int peer = 0; peer < size(); ++peer) {
    received[peer] = peer == rank() ? std::span<const std::byte>() : slot->messages.received(peer);
  }
  return absl::OkStatus();
}

void MessageCommunicator::release_exchange(ExchangeTicket ticket) {
  const absl::StatusOr<Slot*> slot = slot_of(ticket);
  if (!slot.ok()) return;
  if ((*slot)->messages.complete()) {
    (*slot)->in_use = false;
  } else if (broken_.ok()) {
    // Its messages would be taken for those of a later exchange.
    fail((*slot)->context, absl::FailedPreconditionError("released before it was finished"))
        .IgnoreError();
  }
}

absl::Status MessageCommunicator::check_root(const OpContext& context, int root) {
  if (root >= 0 && root < size()) return absl::OkStatus();
  return fail(context,
              absl::InvalidArgumentError("root " + std::to_string(root) + " is not one of the " +
                                         std::to_string(size()) + " ranks"));
}

absl::Status MessageCommunicator::broadcast(const OpContext& context, int root,
                                            std::vector<std::byte>* bytes) {
  RETURN_IF_ERROR(broken_);
  RETURN_IF_ERROR(check_root(context, root));
  const int tag = next_tag(TagSpace::kBroadcast);
  collective_.start(tag);
  // Binomial tree on ranks relative to the root: the parent of r is r without its lowest set bit,
  // its children are r + 2^i for each i below that bit.
  const int relative = (rank() - root + size()) % size();
  int lowest_bit = 1;
  while (lowest_bit < size() && (relative & lowest_bit) == 0) lowest_bit <<= 1;
  if (relative != 0) {
    const int parent = (relative - lowest_bit + root) % size();
    collective_.expect(parent);
    RETURN_IF_ERROR(wait(&collective_, context, root));
    const std::span<const std::byte> received = collective_.received(parent);
    bytes->assign(received.begin(), received.end());
    collective_.start(tag);
  }
  for (int bit = lowest_bit >> 1; bit > 0; bit >>= 1) {
    if (relative + bit >= size()) continue;
    const int child = (relative + bit + root) % size();
    if (absl::Status status = collective_.send(child, *bytes); !status.ok()) {
      return fail(context, status);
    }
  }
  return wait(&collective_, context);
}

absl::StatusOr<std::vector<std::vector<std::byte>>> MessageCommunicator::gather(
    const OpContext& context, int root, std::span<const std::byte> bytes) {
  RETURN_IF_ERROR(broken_);
  RETURN_IF_ERROR(check_root(context, root));
  collective_.start(next_tag(TagSpace::kGather));
  std::vector<std::vector<std::byte>> gathered;
  if (rank() != root) {
    if (absl::Status status = collective_.send(root, bytes); !status.ok()) {
      return fail(context, status);
    }
    RETURN_IF_ERROR(wait(&collective_, context));
    return gathered;
  }
  for (int peer = 0; peer < size(); ++peer) {
    if (peer != rank()) collective_.expect(peer);
  }
  RETURN_IF_ERROR(wait(&collective_, context));
  gathered.reserve(static_cast<size_t>(size()));
  for (int peer = 0; peer < size(); ++peer) {
    const auto from = peer == rank() ? bytes : collective_.received(peer);
    gathered.emplace_back(from.begin(), from.end());
  }
  return gathered;
}

// Every rank tells every other one: a tree would need fewer messages but makes ranks wait for ranks
// that only wait themselves, and the error would name those.
absl::Status MessageCommunicator::barrier(const OpContext& context) {
  RETURN_IF_ERROR(broken_);
  collective_.start(next_tag(TagSpace::kBarrier));
  for (int i = 1; i < size(); ++i) {
    const int peer = (rank() + i) % size();
    collective_.expect(peer);
    if (absl::Status status = collective_.send(peer, {}); !status.ok()) {
      return fail(context, status);
    }
  }
  return wait(&collective_, context);
}

}  // namespace conclave::comm
