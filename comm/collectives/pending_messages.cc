#include "comm/collectives/pending_messages.h"

#include <string>

#include "base/status_macros.h"

namespace conclave::comm {

PendingMessages::PendingMessages(MessagePort* port, size_t max_bytes_per_peer)
    : port_(port), peers_(static_cast<size_t>(port->size())) {
  reserve(max_bytes_per_peer);
}

void PendingMessages::reserve(size_t max_bytes_per_peer) {
  for (size_t r = 0; r < peers_.size(); ++r) {
    if (static_cast<int>(r) != port_->rank()) peers_[r].buffer.reserve(max_bytes_per_peer);
  }
}

void PendingMessages::start(int tag) {
  tag_ = tag;
  expected_ = open_ = 0;
  for (Peer& peer : peers_) {
    peer.send = peer.receive = kCompletedRequest;
    peer.state = Receive::kNone;
    peer.buffer.resize_for_overwrite(0);
  }
}

void PendingMessages::expect(int peer) {
  peers_[peer].state = Receive::kExpected;
  ++expected_;
  ++open_;
}

absl::Status PendingMessages::send(int peer, std::span<const std::byte> bytes) {
  if (bytes.size() > kMaxMessageBytes) {
    return absl::InvalidArgumentError(
        "a message of " + std::to_string(bytes.size()) + " bytes to rank " + std::to_string(peer) +
        " is over the limit of " + std::to_string(kMaxMessageBytes) + " bytes; use smaller steps");
  }
  ASSIGN_OR_RETURN(peers_[peer].send, port_->start_send(peer, tag_, bytes));
  if (peers_[peer].send != kCompletedRequest) ++open_;
  return absl::OkStatus();
}

absl::Status PendingMessages::poll_arrivals() {
  while (expected_ > 0) {
    Arrival arrival;
    ASSIGN_OR_RETURN(const bool arrived, port_->probe(tag_, &arrival));
    if (!arrived) return absl::OkStatus();
    Peer& peer = peers_[arrival.source];
    if (peer.state != Receive::kExpected) {
      return absl::InternalError("rank " + std::to_string(arrival.source) +
                                 " sent a message that belongs to no collective here; the ranks do "
                                 "not call the same collectives in the same order");
    }
    ASSIGN_OR_RETURN(peer.receive, port_->start_receive(arrival, &peer.buffer));
    --expected_;
    peer.state = Receive::kArriving;
  }
  return absl::OkStatus();
}

absl::Status PendingMessages::poll() {
  if (open_ == 0) return absl::OkStatus();
  RETURN_IF_ERROR(poll_arrivals());
  for (Peer& peer : peers_) {
    if (peer.state == Receive::kArriving) {
      bool done = peer.receive == kCompletedRequest;
      if (!done) {
        ASSIGN_OR_RETURN(done, port_->test(peer.receive));
      }
      if (done) {
        peer.receive = kCompletedRequest;
        peer.state = Receive::kDone;
        --open_;
      }
    }
    if (peer.send != kCompletedRequest) {
      ASSIGN_OR_RETURN(const bool sent, port_->test(peer.send));
      if (sent) {
        peer.send = kCompletedRequest;
        --open_;
      }
    }
  }
  return absl::OkStatus();
}

std::vector<int> PendingMessages::silent_peers() const {
  std::vector<int> ranks;
  for (size_t r = 0; r < peers_.size(); ++r) {
    const Receive state = peers_[r].state;
    if (state == Receive::kExpected || state == Receive::kArriving) {
      ranks.push_back(static_cast<int>(r));
    }
  }
  return ranks;
}

std::vector<int> PendingMessages::unreceptive_peers() const {
  std::vector<int> ranks;
  for (size_t r = 0; r < peers_.size(); ++r) {
    if (peers_[r].send != kCompletedRequest) ranks.push_back(static_cast<int>(r));
  }
  return ranks;
}

void PendingMessages::leak_buffers() {
  for (Peer& peer : peers_) {
    if (peer.receive != kCompletedRequest) peer.buffer.leak();
  }
}

}  // namespace conclave::comm
