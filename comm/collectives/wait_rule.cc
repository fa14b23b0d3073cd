#include "comm/collectives/wait_rule.h"

#include <sched.h>

#include <algorithm>

#include "comm/collectives/message_port.h"

namespace conclave::comm {
namespace {

void relax_core() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

int usable_cores() {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  if (sched_getaffinity(0, sizeof cores, &cores) != 0) return 1;
  return CPU_COUNT(&cores);
}

}  // namespace

WaitRule::WaitRule(MessagePort* port, bool crowded)
    : port_(port), spins_left_(crowded ? 2 : 256), yields_left_(64) {}

void WaitRule::pause(std::chrono::nanoseconds remaining) {
  if (spins_left_ > 0) {
    --spins_left_;
    relax_core();
    return;
  }
  if (yields_left_ > 0) {
    --yields_left_;
    sched_yield();
    return;
  }
  port_->wait(std::min(sleep_, remaining));
  sleep_ = std::min(kLongestSleep, sleep_ + sleep_ / 4);
}

bool host_is_crowded(const MessagePort& port) {
  int here = 0;
  for (int r = 0; r < port.size(); ++r) here += port.host(r) == port.host(port.rank()) ? 1 : 0;
  return here > usable_cores();
}

}  // namespace conclave::comm
