#include "comm/local/local_communicator.h"

#include <atomic>
#include <utility>

#include "comm/collectives/message_communicator.h"
#include "comm/local/mailbox.h"

namespace conclave::comm {

// What the ranks of a group share.
class LocalExchange {
 public:
  LocalExchange(int size, std::vector<std::string> hosts)
      : hosts_(std::move(hosts)),
        mailboxes_(static_cast<size_t>(size)),
        silent_(static_cast<size_t>(size)) {
    hosts_.resize(static_cast<size_t>(size), "localhost");
  }
  int size() const { return static_cast<int>(mailboxes_.size()); }
  const std::string& host(int rank) const { return hosts_[rank]; }
  Mailbox& mailbox(int rank) { return mailboxes_[rank]; }
  std::atomic<bool>& silent(int rank) { return silent_[rank]; }

 private:
  std::vector<std::string> hosts_;
  std::vector<Mailbox> mailboxes_;
  std::vector<std::atomic<bool>> silent_;
};

namespace {

class LocalPort final : public MessagePort {
 public:
  LocalPort(std::shared_ptr<LocalExchange> exchange, int rank)
      : exchange_(std::move(exchange)), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return exchange_->size(); }
  std::string_view transport() const override { return "local"; }
  const std::string& host(int rank) const override { return exchange_->host(rank); }

  absl::Status reserve(size_t max_bytes, int messages) override {
    exchange_->mailbox(rank_).reserve(max_bytes, messages);
    return absl::OkStatus();
  }

  absl::StatusOr<RequestId> start_send(int peer, int tag,
                                       std::span<const std::byte> bytes) override {
    if (!exchange_->silent(rank_) && !exchange_->silent(peer)) {
      exchange_->mailbox(peer).put(rank_, tag, bytes);
    }
    return kCompletedRequest;
  }

  absl::StatusOr<bool> probe(int tag, Arrival* arrival) override {
    if (exchange_->silent(rank_)) return false;
    taken_ = exchange_->mailbox(rank_).take(tag);
    if (taken_ == nullptr) return false;
    *arrival = Arrival{taken_->source, taken_->bytes.size(), 0};
    return true;
  }

  absl::StatusOr<RequestId> start_receive(const Arrival& arrival, ByteBuffer* into) override {
    // The reader's old memory goes back with the letter: no second copy, and nothing is freed.
    into->swap(taken_->bytes);
    exchange_->mailbox(rank_).recycle(std::move(taken_));
    return kCompletedRequest;
  }

  absl::StatusOr<bool> test(RequestId request) override { return true; }
  void wait(std::chrono::nanoseconds at_most) override { exchange_->mailbox(rank_).wait(at_most); }
  bool abandon() override { return false; }

 private:
  std::shared_ptr<LocalExchange> exchange_;
  int rank_;
  std::unique_ptr<Mailbox::Letter> taken_;  // between probe() and start_receive()
};

}  // namespace

LocalGroup::LocalGroup(int size, std::vector<std::string> hosts)
    : exchange_(std::make_shared<LocalExchange>(size, std::move(hosts))) {}

std::unique_ptr<Communicator> LocalGroup::make_communicator(int rank) {
  return std::make_unique<MessageCommunicator>(std::make_unique<LocalPort>(exchange_, rank));
}

void LocalGroup::stop_responding(int rank) { exchange_->silent(rank) = true; }

std::vector<std::unique_ptr<Communicator>> make_local_communicators(int size) {
  LocalGroup group(size);
  std::vector<std::unique_ptr<Communicator>> communicators;
  for (int rank = 0; rank < size; ++rank) communicators.push_back(group.make_communicator(rank));
  return communicators;
}

}  // namespace conclave::comm
