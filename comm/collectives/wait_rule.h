#ifndef CONCLAVE_COMM_COLLECTIVES_WAIT_RULE_H_
#define CONCLAVE_COMM_COLLECTIVES_WAIT_RULE_H_

#include <chrono>

namespace conclave::comm {

class MessagePort;

// What a waiting rank does between two polls: a short spin (the usual case inside a step is that
// the others are microseconds away), then sched_yield, then sleeps that grow to kLongestSleep, so
// that a rank whose peer is late leaves the core to it. One object per wait.
class WaitRule {
 public:
  static constexpr std::chrono::nanoseconds kFirstSleep = std::chrono::microseconds(10);
  static constexpr std::chrono::nanoseconds kLongestSleep = std::chrono::microseconds(150);

  // crowded: more ranks than cores on this host; spinning would keep the peer from running.
  WaitRule(MessagePort* port, bool crowded);
  void pause(std::chrono::nanoseconds remaining);

 private:
  MessagePort* port_;
  int spins_left_;
  int yields_left_;
  std::chrono::nanoseconds sleep_ = kFirstSleep;
};

// True when the host of this rank runs more ranks than it has usable cores.
bool host_is_crowded(const MessagePort& port);

}  // namespace conclave::comm

#endif  // CONCLAVE_COMM_COLLECTIVES_WAIT_RULE_H_
