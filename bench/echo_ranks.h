#ifndef CONCLAVE_BENCH_ECHO_RANKS_H_
#define CONCLAVE_BENCH_ECHO_RANKS_H_

// A worker group that computes nothing: it answers each plan at once with made-up tokens. What remains is the
// coordinator's own cost.

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "comm/channel/channel.h"

namespace conclave::bench {

class EchoRank {
 public:
  // Joins the coordinator's worker listener as rank 0 of 1 and serves plans on a thread of its own.
  static absl::StatusOr<std::unique_ptr<EchoRank>> join(const std::string& host, uint16_t port, const std::string& secret,
                                                        int32_t vocab);
  ~EchoRank();

 private:
  EchoRank(std::unique_ptr<comm::Channel> channel, int32_t vocab);
  void serve();
  std::unique_ptr<comm::Channel> channel_;
  int32_t vocab_;
  std::atomic<bool> stop_{false};
  std::thread plans_;
  std::thread health_;
};

}  // namespace conclave::bench

#endif  // CONCLAVE_BENCH_ECHO_RANKS_H_
