#ifndef CONCLAVE_TESTS_COORDINATOR_ENGINE_FAKE_MODEL_H_
#define CONCLAVE_TESTS_COORDINATOR_ENGINE_FAKE_MODEL_H_

// A "model" whose next token is a hash of the whole text, and workers that compute it from paged
// blocks alone. They keep what a real rank keeps, K/V per block and slot, and notice every plan
// that reads what was not written, writes what others read, or mixes up texts.

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "protocol/step_plan.h"

namespace conclave::coordinator {

// Token after `text`, as the fake model samples it: depends on text, seed, position; banned tokens
// are avoided.
int32_t fake_next_token(std::span<const int32_t> text, const protocol::Sampling& sampling,
                        int32_t vocab);

class FakeRanks {
 public:
  FakeRanks(std::vector<int32_t> blocks_per_rank, int32_t vocab);

  // Runs the plan; what is wrong with it goes to problems().
  protocol::StepResult run(const protocol::StepPlan& plan);
  const std::vector<std::string>& problems() const { return problems_; }
  int64_t rows() const { return rows_; }
  int64_t ahead_rows() const { return ahead_rows_; }  // whose token the plan did not know
  int64_t moves() const { return moves_; }  // of sequences to another home

 private:
  struct Slot {
    uint64_t prefix_hash = 0;  // of the text up to and including this token; 0: never written
    int32_t position = -1;
    int32_t token = -1;
  };
  void run_chunk(const protocol::SequenceChunk& chunk, protocol::StepResult* result);
  void move_blocks(const protocol::StepPlan& plan);
  void check_sharing(const protocol::StepPlan& plan);
  int32_t token_of(const protocol::SequenceChunk& chunk, size_t row);
  void report(const protocol::SequenceChunk& chunk, protocol::SequenceResult* result);
  void problem(const protocol::SequenceChunk& chunk, const std::string& what);

  int32_t vocab_;
  std::vector<std::vector<Slot>> slots_;  // [rank][block * 16 + offset]
  bool shared_kv_ = false;                // of the plan that runs: what is written reaches all ranks
  struct Sampled {
    int32_t rank = -1;
    int32_t token = -1;
  };
  std::map<uint64_t, Sampled> sampled_, sampled_before_;  // in this step, in the one before
  std::vector<std::string> problems_;
  int64_t rows_ = 0;
  int64_t ahead_rows_ = 0;
  int64_t moves_ = 0;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_TESTS_COORDINATOR_ENGINE_FAKE_MODEL_H_
