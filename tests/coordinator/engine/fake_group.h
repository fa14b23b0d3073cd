#ifndef CONCLAVE_TESTS_COORDINATOR_ENGINE_FAKE_GROUP_H_
#define CONCLAVE_TESTS_COORDINATOR_ENGINE_FAKE_GROUP_H_

// A worker group of threads that speak the real protocol over channels and compute with FakeRanks.
// Keeps the wake and sleep rules as strictly as MPI ranks must: a rank that is asleep looks at its
// control connection only, a busy one at rank 0's broadcasts only.

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "comm/channel/channel.h"
#include "fake_model.h"
#include "protocol/step_plan.h"

namespace conclave::coordinator {

struct FakeGroupOptions {
  int32_t ranks = 1;
  int32_t kv_blocks = 64;
  int32_t vocab = 1000;
  int64_t die_at_step = -1;  // rank 0 closes its connection instead of answering this step
  bool die_with_next = false;  // ... or a later one, when the plan after it has come as well
  std::string fingerprint = "fake";
  std::vector<float> logits;      // of each prompt row that wants them, once with each vocabulary's size
  bool finite = true;             // what ranks say of the rows that they sampled from
  std::optional<int32_t> parrot;  // the only token that it ever says
};

class FakeGroup {
 public:
  // Ranks run on threads until Shutdown or until their connections close.
  FakeGroup(FakeGroupOptions options, std::vector<std::unique_ptr<comm::Channel>> channels);
  ~FakeGroup();
  std::vector<std::string> problems() const;
  int64_t sleeps() const;
  int64_t steps() const;
  int64_t ahead_rows() const;  // whose token the plan did not know
  // Steps stay unanswered while held.
  void hold();
  void let_go();
  // Rank 0 has received the plan of a step that it holds.
  void wait_until_holding();

 private:
  struct Broadcast {
    std::deque<protocol::StepPlan> plans;
  };
  void run_rank(int32_t rank);
  bool join(int32_t rank);
  bool run_leader();
  bool run_follower(int32_t rank);
  bool answer(const protocol::StepPlan& plan);
  void note(const std::string& problem);
  comm::Channel& channel(int32_t rank) { return *channels_[static_cast<size_t>(rank)]; }

  FakeGroupOptions options_;
  std::vector<std::unique_ptr<comm::Channel>> channels_;
  FakeRanks model_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Broadcast> broadcasts_;
  std::vector<std::string> problems_;
  int64_t sleeps_ = 0, steps_ = 0, ahead_rows_ = 0;
  bool held_ = false, holding_ = false, ended_ = false;
  std::vector<std::thread> threads_;
};

// Connected pairs: the ranks' ends and the coordinator's.
struct ConnectedEnds {
  std::vector<std::unique_ptr<comm::Channel>> channels;
  std::vector<std::unique_ptr<comm::ChannelPeer>> peers;
};
ConnectedEnds make_connected_ends(int32_t ranks);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_TESTS_COORDINATOR_ENGINE_FAKE_GROUP_H_
