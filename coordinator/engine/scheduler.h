#ifndef CONCLAVE_COORDINATOR_ENGINE_SCHEDULER_H_
#define CONCLAVE_COORDINATOR_ENGINE_SCHEDULER_H_

// Which rows of which sequences the next step computes. Pure: no threads, clock or I/O; the same
// calls give the same plans.
//
// Continuous batching (Orca, OSDI 2022) with the stall-free split of Sarathi-Serve (OSDI 2024):
// rows of decoding sequences first, then chunks of prompts fill the step's budget of rows. Prefix
// sharing by whole blocks and preemption by recomputation follow PagedAttention (SOSP 2023). Clients
// share prompts' rows, places and memory by deficit round robin (client_shares.h); within a client
// the order is priority, then acceptance.

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "coordinator/engine/block_ledger.h"
#include "coordinator/engine/client_shares.h"
#include "coordinator/engine/journal.h"
#include "coordinator/engine/sequence.h"
#include "protocol/step_plan.h"

namespace conclave::coordinator {

struct SchedulerOptions {
  std::vector<int32_t> kv_blocks;  // [ranks] as each rank reported
  std::vector<int32_t> eos_ids;
  int32_t max_model_len = 0;  // prompt + output
  int32_t max_running =
      256;  // at most max_step_tokens, so that every running sequence moves in every step
  int32_t max_step_tokens = 2048;  // all ranks
  int32_t max_rank_step_tokens = 2048;
  bool prefix_cache = true;
  // Context-coherent: every rank holds every sequence's K/V under the same block ids, and decoded tokens
  // follow their experts. Blocks then count once for each rank.
  bool coherent = false;
  // Move a sequence, once its prompt is computed, to the rank where its rows found most experts.
  bool match_homes = false;
  int32_t step_deadline_ms = 10000;  // of a step of up to kRowsPerDeadline rows; larger ones get more
  int32_t vocab = 0;  // 0: unknown; bounds the rows whose logits one step reports
  // Sequences run together while their plans cannot grow beyond this, whatever they ask for: a plan must fit
  // the control channel's queue (256 MiB).
  int64_t max_plan_bytes = int64_t{128} << 20;
  std::optional<uint64_t> force_preempt_seed;  // tests: preempt at random, a few times per sequence
  bool pipeline = true;                        // plan_ahead() gives plans
};

struct ScheduledStep {
  protocol::StepPlan plan;
  struct Admission {
    SequenceId id = 0;
    bool first = false;  // not a return after preemption or replay
    int32_t tokens = 0;  // looked up in the prefix cache; 0 if it was not asked
    int32_t cached_tokens = 0;
  };
  std::vector<Admission> admissions;
  int32_t preemptions = 0;
  int64_t prompt_rows = 0;  // rows of clients' prompts, and of text that is computed again
};

// What a client has here.
struct ClientLoad {
  std::string name;
  int32_t running = 0, waiting = 0;
};

struct SequenceEvent {
  SequenceId id = 0;
  std::variant<PromptPart, GeneratedToken, GenerationEnd> what;
};

class Scheduler {
 public:
  explicit Scheduler(SchedulerOptions options);

  // The entry must live until its end event, cancel() or the scheduler's end. INVALID_ARGUMENT if
  // its text can never fit.
  absl::Status admit(JournalEntry* entry);
  // True if the sequence was open: it is no more, and gives no further events. Its blocks return
  // with the last step in flight that it is in.
  bool cancel(SequenceId id);

  // Null if it is not open here.
  const Sequence* find(SequenceId id) const {
    const auto it = sequences_.find(id);
    return it == sequences_.end() ? nullptr : it->second.get();
  }

  bool step_in_flight() const { return !in_flight_.empty(); }
  bool has_work() const { return !running_.empty() || waiting_ > 0; }
  // The next step; nothing while one is in flight or when there is no work.
  std::optional<ScheduledStep> plan(int64_t step);
  // The step after the one in flight, made before that one's tokens are known: its rows stand for
  // "the token sampled in the step before" (protocol::kPreviousToken). Nothing unless that is all
  // that plan() could do: the step in flight only decodes, nobody waits who could be admitted, and
  // there are blocks without preemption. At most one step ahead. A sequence that turns out to have
  // ended in the step in flight gives nothing for its row of this one.
  std::optional<ScheduledStep> plan_ahead(int64_t step);
  // What the oldest step in flight did. INTERNAL if the result does not belong to the plan; the
  // scheduler is then of no further use.
  absl::StatusOr<std::vector<SequenceEvent>> apply(protocol::StepResult result);

  // Experts have moved: what was counted of prompts says nothing any more. Homes stay.
  void forget_rank_hits();

  int32_t running() const { return static_cast<int32_t>(running_.size()); }
  int32_t waiting() const { return waiting_; }
  std::vector<ClientLoad> client_loads() const;  // those that have any
  // Prompt and output tokens of one sequence: the option, or less where K/V memory is smaller.
  int32_t max_model_len() const { return max_model_len_; }
  int32_t ranks() const { return static_cast<int32_t>(ranks_.size()); }
  const BlockLedger& ledger(int32_t rank) const {
    return ranks_[options_.coherent ? 0 : static_cast<size_t>(rank)].ledger;
  }

 private:
  static constexpr int64_t kPatience = 8, kPatienceForMore = 32, kLongPatience = 64;  // steps
  static constexpr int64_t kRowsPerDisplacedRow = 8;
  using Order = std::map<SequenceOrder, Sequence*>;
  struct Rank {
    Rank(int32_t blocks, bool prefix_cache) : ledger(blocks, prefix_cache) {}
    BlockLedger ledger;
    int32_t running = 0;
    int32_t budget = 0;                              // rows left in the step being planned
    std::unordered_map<uint64_t, int32_t> arriving;  // hashes of blocks being prefilled
  };
  struct Flight {
    Sequence* sequence = nullptr;
    int32_t rows = 0;
    bool sample = false;
    bool report = false;
    bool rank_hits = false;
  };
  struct Step {
    int64_t number = -1;
    std::vector<Flight> flights;
  };
  struct Placing {
    int32_t rank = -1;
    bool wait_for_prefix = false;  // a running sequence is computing the next block of this text
    std::vector<CachedBlock> cached;
  };

  struct Claim {
    ClientAccount* client = nullptr;
    std::vector<Sequence*> victims;
  };

  int32_t room_for(const Sequence& sequence) const;
  int32_t deadline_of(int64_t rows) const;
  void begin_planning();
  ScheduledStep launch(ScheduledStep step, int64_t number);
  static bool only_decodes(const std::vector<Flight>& flights);
  bool may_plan_ahead();
  bool may_admit_beside(const std::vector<Sequence*>& sequences);
  void plan_turns(bool everybody, const ClientAccount* claimant, ScheduledStep* step);
  bool serve_entitled(ScheduledStep* step);
  void serve_overdrawn(ScheduledStep* step);
  bool serve_next(ClientAccount& client, ScheduledStep* step);
  bool admit_next(ClientAccount& client, ScheduledStep* step);
  void end_turns(int64_t rows);
  bool has_waited(const ClientAccount& client, int64_t steps) const;
  int64_t most_displacement_credit() const;
  bool may_displace(const ClientAccount& claimant, const ClientAccount& victim) const;
  std::vector<Sequence*> displaceable(const ClientAccount& claimant);
  std::vector<Sequence*> victims_on(int32_t rank, const Sequence& newcomer,
                                    const std::vector<Sequence*>& candidates) const;
  std::vector<Sequence*> victims_of(const ClientAccount& claimant);
  std::optional<Claim> claim();
  const ClientAccount* make_room(ScheduledStep* step);
  Sequence* last_on(int32_t home);
  void decode_all(ClientAccount& client, ScheduledStep* step);
  void wait(Sequence& sequence);
  static int32_t shared_blocks(const std::vector<CachedBlock>& blocks, const BlockLedger& ledger);
  bool fits_beside_running(const Sequence& sequence) const;
  bool homes_to_match() const;
  std::vector<Sequence*> going_on() const;
  bool room_for_next_rows(const std::vector<Sequence*>& sequences);
  void add_ahead_chunk(Sequence& sequence, ScheduledStep* step);
  void match_homes(ScheduledStep* step);
  std::vector<Sequence*> home_candidates();
  double home_profit(const Sequence& sequence, size_t rank) const;
  void move_home(Sequence& sequence, int32_t rank, ScheduledStep* step);
  void note_rank_hits(Sequence& sequence, const protocol::SequenceResult* result);
  void plan_decodes(ScheduledStep* step);
  void add_chunk(Sequence& sequence, int32_t rows, ScheduledStep* step);
  bool reserve_next_row(Sequence& sequence, ScheduledStep* step);
  std::optional<Placing> place(const Sequence& sequence) const;
  void start_running(Sequence& sequence, const Placing& placing, ScheduledStep* step);
  void preempt(Sequence& sequence, ScheduledStep* step);
  bool leave_running(Sequence& sequence);
  void force_preemption(ScheduledStep* step);
  bool draw_preemption();
  void announce(Sequence& sequence, bool arriving);
  void release_blocks(Sequence& sequence);
  void publish_blocks(Sequence& sequence);
  void remove(Sequence& sequence);
  bool uses_cache(const Sequence& sequence) const {
    return options_.prefix_cache && !sequence.reports_prompt();
  }
  // Whose ledger counts the sequence's blocks.
  Rank& memory(const Sequence& sequence) {
    return options_.coherent ? ranks_.front() : home(sequence);
  }
  Rank& home(const Sequence& sequence) { return ranks_[static_cast<size_t>(sequence.home)]; }
  absl::Status apply_one(const Flight& flight, protocol::SequenceResult* result,
                         std::vector<SequenceEvent>* events);
  absl::Status report_prompt(const Flight& flight, protocol::SequenceResult* result,
                             std::vector<SequenceEvent>* events);
  void apply_token(Sequence& sequence, protocol::SequenceResult* result,
                   std::vector<SequenceEvent>* events);
  void end_unusable(Sequence& sequence, std::vector<SequenceEvent>* events);
  void end(Sequence& sequence, FinishReason reason, std::optional<int32_t> stop_token,
           std::vector<SequenceEvent>* events);

  SchedulerOptions options_;
  int32_t max_model_len_ = 0;
  std::vector<Rank> ranks_;
  std::unordered_map<SequenceId, std::unique_ptr<Sequence>> sequences_;
  Order running_;  // of all clients
  int32_t waiting_ = 0;
  ClientShares shares_;
  std::vector<ClientAccount*> by_merit_;  // of the step being planned
  bool prompts_left_ = false;             // after the last plan() some prompts were not computed
  int64_t step_ = 0;                      // planned so far
  int64_t displacement_credit_ = 0;  // kRowsPerDisplacedRow for each row to be computed again
  int32_t budget_ = 0;  // rows left in the step being planned
  int32_t logit_rows_ = 0;  // of them, rows whose logits may be reported
  int64_t running_plan_bytes_ = 0;  // sum of max_plan_bytes() over running_
  std::vector<Flight> flights_;     // of the step being planned
  std::deque<Step> in_flight_;      // at most two, oldest first
  int64_t drawn_for_ = -1;          // with force_preempt_seed: the step ...
  bool drawn_ = false;  // ... and whether the next one comes from plan(), which may preempt
  uint64_t random_state_ = 0;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ENGINE_SCHEDULER_H_
