#ifndef CONCLAVE_COMM_COLLECTIVES_MESSAGE_COMMUNICATOR_H_
#define CONCLAVE_COMM_COLLECTIVES_MESSAGE_COMMUNICATOR_H_

// The Communicator on top of any MessagePort, so that deadlines, error texts, the wait rule and the
// message pattern of each collective are the same for every transport.
//
// After the first failure (a deadline, a transport error, collectives out of order) the group's
// message streams no longer match: the communicator is broken and every further call returns the
// first error. The rank must then end and its group start anew.

#include <array>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comm/collectives/message_port.h"
#include "comm/collectives/pending_messages.h"
#include "comm/communicator.h"

namespace conclave::comm {

class MessageCommunicator final : public Communicator {
 public:
  // More exchanges than this between begin and release mean that tickets leak.
  static constexpr int kMaxInFlight = 64;

  explicit MessageCommunicator(std::unique_ptr<MessagePort> port);
  ~MessageCommunicator() override;
  MessageCommunicator(const MessageCommunicator&) = delete;
  MessageCommunicator& operator=(const MessageCommunicator&) = delete;

  int rank() const override { return port_->rank(); }
  int size() const override { return port_->size(); }
  std::string_view transport() const override { return port_->transport(); }
  const std::string& host(int rank) const override { return port_->host(rank); }

  absl::Status reserve(size_t max_bytes_per_peer, int max_in_flight) override;
  absl::StatusOr<ExchangeTicket> begin_exchange(
      const OpContext& context, std::span<const std::span<const std::byte>> send) override;
  absl::StatusOr<bool> progress(ExchangeTicket ticket) override;
  absl::Status finish_exchange(ExchangeTicket ticket,
                               std::span<std::span<const std::byte>> received) override;
  void release_exchange(ExchangeTicket ticket) override;

  absl::Status broadcast(const OpContext& context, int root,
                         std::vector<std::byte>* bytes) override;
  absl::StatusOr<std::vector<std::vector<std::byte>>> gather(
      const OpContext& context, int root, std::span<const std::byte> bytes) override;
  absl::Status barrier(const OpContext& context) override;

 private:
  // Each kind of collective counts its calls in a tag space of its own.
  enum class TagSpace { kExchange, kBroadcast, kGather, kBarrier, kCount };
  struct Slot {
    explicit Slot(MessagePort* port, size_t max_bytes) : messages(port, max_bytes) {}
    PendingMessages messages;
    OpContext context{{}, -1, -1, Deadline::after_ms(0)};
    bool in_use = false;
  };

  int next_tag(TagSpace space);
  absl::StatusOr<Slot*> free_slot(ExchangeTicket* ticket);
  absl::StatusOr<Slot*> slot_of(ExchangeTicket ticket);
  absl::Status poll_exchanges();
  // Polls until *messages is complete; relay_of: root of a broadcast tree, or -1.
  absl::Status wait(PendingMessages* messages, const OpContext& context, int relay_of = -1);
  absl::Status deadline_error(const PendingMessages& messages, const OpContext& context,
                              int relay_of) const;
  absl::Status check_root(const OpContext& context, int root);
  absl::Status fail(const OpContext& context, const absl::Status& status);

  std::unique_ptr<MessagePort> port_;
  bool crowded_;
  size_t max_bytes_per_peer_ = 0;
  std::vector<std::unique_ptr<Slot>> slots_;
  PendingMessages collective_;  // of broadcast, gather and barrier
  std::array<uint32_t, static_cast<size_t>(TagSpace::kCount)> next_tag_{};
  absl::Status broken_;
};

}  // namespace conclave::comm

#endif  // CONCLAVE_COMM_COLLECTIVES_MESSAGE_COMMUNICATOR_H_
