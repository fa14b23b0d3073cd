#ifndef CONCLAVE_TESTS_SUPPORT_DELAYED_COMMUNICATOR_H_
#define CONCLAVE_TESTS_SUPPORT_DELAYED_COMMUNICATOR_H_

// A slow network for tests of overlap, without real waiting: an exchange is ready a fixed time
// after its begin on a fake clock that only the test (for computation) and this class (for waits)
// move.
//
//   FakeClock clock;
//   DelayedCommunicator comm(inner.get(), &clock, /*delay_us=*/100);
//   ... run; the kernels under test call clock.advance_us(cost) ...
//   comm.exposed_wait_us();  // time that finish_exchange waited, summed
//   comm.events();           // what was called when
//
// One clock and one DelayedCommunicator a rank, used by that rank's thread; the clock may be moved
// by any thread. A poll that finds nothing takes a microsecond. The data travels through `inner` unchanged. When an exchange is ready by the fake
// clock, progress() waits for the peers' real threads, so that only that clock decides: every rank
// needs its own thread.

#include <atomic>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "comm/communicator.h"

namespace conclave::comm {

class FakeClock {
 public:
  int64_t now_us() const { return now_us_.load(); }
  void advance_us(int64_t duration_us) { now_us_.fetch_add(duration_us); }

 private:
  std::atomic<int64_t> now_us_{0};
};

struct CommEvent {
  enum class Kind { kBegin, kProgress, kFinish, kRelease, kBroadcast, kGather, kBarrier };
  Kind kind = Kind::kBegin;
  std::string operation;  // of the exchange, also for its progress, finish and release
  int32_t layer = -1;
  int64_t step = -1;
  int32_t slot = -1;    // the ticket's; -1 for collectives
  int64_t time_us = 0;  // fake time at the call
  int64_t wait_us = 0;  // kFinish: fake time that the call waited
  bool ready = false;   // kProgress: its answer
  int64_t bytes = 0;    // kBegin: sent to all peers together
};

// "begin dispatch 3" (kind, operation, layer): for comparing orders in tests.
std::string event_text(const CommEvent& event);

class DelayedCommunicator final : public Communicator {
 public:
  DelayedCommunicator(Communicator* inner, FakeClock* clock, int64_t delay_us)
      : inner_(inner), clock_(clock), delay_us_(delay_us) {}

  const std::vector<CommEvent>& events() const { return events_; }
  void clear_events() { events_.clear(); }
  int64_t exposed_wait_us() const { return exposed_wait_us_; }
  // For the exchanges that begin from now on.
  void set_delay_us(int64_t delay_us) { delay_us_ = delay_us; }
  // Tests may put their own marks (compute started, ...) between the events of the communicator.
  void record(CommEvent event) { events_.push_back(std::move(event)); }

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  std::string_view transport() const override { return inner_->transport(); }
  const std::string& host(int rank) const override { return inner_->host(rank); }
  absl::Status reserve(size_t max_bytes_per_peer, int max_in_flight) override {
    return inner_->reserve(max_bytes_per_peer, max_in_flight);
  }
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
  struct InFlight {
    CommEvent begin;
    int64_t ready_us = 0;
  };
  InFlight& in_flight(ExchangeTicket ticket);
  CommEvent& record(CommEvent::Kind kind, ExchangeTicket ticket);
  void record(CommEvent::Kind kind, const OpContext& context);

  Communicator* inner_;
  FakeClock* clock_;
  int64_t delay_us_;
  std::vector<InFlight> in_flight_;  // by slot
  std::vector<CommEvent> events_;
  int64_t exposed_wait_us_ = 0;
};

}  // namespace conclave::comm

#endif  // CONCLAVE_TESTS_SUPPORT_DELAYED_COMMUNICATOR_H_
