#ifndef CONCLAVE_COORDINATOR_ENGINE_STARTUP_CHECK_H_
#define CONCLAVE_COORDINATOR_ENGINE_STARTUP_CHECK_H_

// A fixed greedy prompt that a group answers before it counts as ready: a model whose logits are
// NaN, infinite or all equal would answer every request with rubbish.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "coordinator/engine/engine.h"

namespace conclave::coordinator {

// Belongs to the engine's thread, as its listeners do.
class StartupCheck {
 public:
  // prompt: at least one token; max_tokens may be 0. ranks: so many copies run, so that each rank
  // can get one as its home.
  StartupCheck(const std::vector<int32_t>& prompt, int32_t max_tokens, int32_t vocab,
               int32_t ranks);

  struct Probe {
    GenerationRequest request;
    std::shared_ptr<GenerationListener> listener;
  };
  std::vector<Probe> probes() const;

  bool done() const { return state_->open == 0; }
  // Once done. INVALID_ARGUMENT: what is wrong with the answers, as a sentence; other codes: the
  // group could not answer.
  absl::Status verdict() const;
  // Once done and the verdict is good: what is odd all the same; "" if nothing is.
  std::string warning() const;

 private:
  struct State {
    size_t open = 0;
    absl::Status failure;
    std::vector<float> logits;                  // of the first copy's prompt rows
    std::vector<std::vector<int32_t>> answers;  // [copies][tokens]
  };
  class Listener;
  const std::vector<int32_t> prompt_;
  const int32_t max_tokens_;
  const int32_t vocab_;
  const std::shared_ptr<State> state_;  // shared with the listeners
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ENGINE_STARTUP_CHECK_H_
