#include "coordinator/engine/scheduler.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"

namespace conclave::coordinator {
namespace {

constexpr int32_t kMaxForcedPreemptions = 3;
// Float32 logits that one step may report: 64 MiB, a quarter of what a control channel queues.
constexpr int64_t kMostLogits = int64_t{16} << 20;
constexpr int64_t kRowsPerDeadline = 256;
// Asks whether the cluster lives; no name of a client has such characters.
constexpr char kProbes[] = "(probes)";

uint64_t next_random(uint64_t* state) {  // SplitMix64
  uint64_t value = (*state += 0x9e3779b97f4a7c15u);
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
  return value ^ (value >> 31);
}

}  // namespace

Scheduler::Scheduler(SchedulerOptions options) : options_(std::move(options)) {
  max_model_len_ = options_.max_model_len;
  if (options_.coherent) {
    const int32_t least = *std::min_element(options_.kv_blocks.begin(), options_.kv_blocks.end());
    std::fill(options_.kv_blocks.begin(), options_.kv_blocks.end(), least);
  }
  for (const int32_t blocks : options_.kv_blocks) {
    ranks_.emplace_back(blocks, options_.prefix_cache);
    max_model_len_ = std::min(max_model_len_, blocks * kBlockTokens);
  }
  options_.max_rank_step_tokens = std::min(options_.max_rank_step_tokens, options_.max_step_tokens);
  // A running sequence gets at least one row in each step, so nothing that runs can starve.
  options_.max_running = std::min(options_.max_running, options_.max_step_tokens);
  options_.match_homes = options_.match_homes && !options_.coherent && ranks_.size() > 1;
  random_state_ = options_.force_preempt_seed.value_or(0);
  displacement_credit_ = most_displacement_credit();
}

absl::Status Scheduler::admit(JournalEntry* entry) {
  const size_t prompt = entry->request.prompt.size();
  const size_t needed = prompt + entry->emitted.size() + (entry->request.max_tokens > 0 ? 1 : 0);
  if (needed > static_cast<size_t>(max_model_len_)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the prompt has ", prompt, " tokens, but at most ", max_model_len_,
        " tokens of prompt and output fit",
        max_model_len_ < options_.max_model_len ? " into the K/V memory of a rank" : "",
        "; send a shorter prompt"));
  }
  auto sequence = std::make_unique<Sequence>(entry, options_.eos_ids);
  const GenerationRequest& request = entry->request;
  ClientAccount& client =
      shares_.account(request.probe ? kProbes : request.client, request.client_weight);
  if (client.waiting.empty()) shares_.begin_waiting(client, waiting_ > 0 || prompts_left_);
  sequence->client = &client;
  wait(*sequence);
  sequences_.emplace(entry->id, std::move(sequence));
  return absl::OkStatus();
}

void Scheduler::wait(Sequence& sequence) {
  ClientAccount& client = *sequence.client;
  if (client.waiting.empty()) client.last_in = step_;
  client.waiting.emplace(sequence.order(), &sequence);
  ++waiting_;
}

bool Scheduler::cancel(SequenceId id) {
  const auto it = sequences_.find(id);
  if (it == sequences_.end() || it->second->abandoned()) return false;
  if (it->second->steps > 0) {
    it->second->abandon();
  } else {
    remove(*it->second);
  }
  return true;
}

void Scheduler::remove(Sequence& sequence) {
  if (!leave_running(sequence)) {
    sequence.client->waiting.erase(sequence.order());
    --waiting_;
  }
  sequences_.erase(sequence.id());
}

bool Scheduler::leave_running(Sequence& sequence) {
  if (running_.erase(sequence.order()) == 0) return false;
  sequence.client->running.erase(sequence.order());
  running_plan_bytes_ -= sequence.max_plan_bytes();
  --home(sequence).running;
  release_blocks(sequence);
  return true;
}

void Scheduler::release_blocks(Sequence& sequence) {
  announce(sequence, false);
  BlockLedger& ledger = memory(sequence).ledger;
  for (auto block = sequence.blocks.rbegin(); block != sequence.blocks.rend(); ++block)
    ledger.release(*block);
  sequence.blocks.clear();
}

std::vector<ClientLoad> Scheduler::client_loads() const {
  std::vector<ClientLoad> loads;
  for (const ClientAccount& client : shares_.clients()) {
    if (!client.active() || client.name == kProbes) continue;
    loads.push_back({client.name, static_cast<int32_t>(client.running.size()),
                     static_cast<int32_t>(client.waiting.size())});
  }
  return loads;
}

std::optional<ScheduledStep> Scheduler::plan(int64_t step) {
  if (step_in_flight() || !has_work()) return std::nullopt;
  ScheduledStep scheduled;
  ++step_;
  begin_planning();
  shares_.forget_idle();
  if (options_.force_preempt_seed) force_preemption(&scheduled);
  const ClientAccount* claimant = make_room(&scheduled);
  match_homes(&scheduled);
  plan_decodes(&scheduled);
  // What was preempted a moment ago must not take back the room that it made.
  const bool everybody = scheduled.preemptions == 0 || running_.empty();
  plan_turns(everybody, claimant, &scheduled);
  if (flights_.empty()) return std::nullopt;
  return launch(std::move(scheduled), step);
}

void Scheduler::begin_planning() {
  budget_ = options_.max_step_tokens;
  logit_rows_ = options_.vocab > 0
                    ? static_cast<int32_t>(std::max<int64_t>(1, kMostLogits / options_.vocab))
                    : budget_;
  for (Rank& rank : ranks_) rank.budget = options_.max_rank_step_tokens;
  flights_.clear();
}

ScheduledStep Scheduler::launch(ScheduledStep step, int64_t number) {
  step.plan.step = number;
  step.plan.shared_kv = options_.coherent;
  step.plan.deadline_ms = deadline_of(options_.max_step_tokens - budget_);
  step.plan.may_be_followed = options_.pipeline && !options_.coherent && only_decodes(flights_);
  end_turns(options_.max_step_tokens - budget_);
  in_flight_.push_back({number, std::exchange(flights_, {})});
  return step;
}

// A chunk of a thousand rows takes longer than a decode, on any machine.
int32_t Scheduler::deadline_of(int64_t rows) const {
  const int64_t times = (std::max<int64_t>(rows, 1) + kRowsPerDeadline - 1) / kRowsPerDeadline;
  return static_cast<int32_t>(
      std::min<int64_t>(options_.step_deadline_ms * times, std::numeric_limits<int32_t>::max()));
}

int32_t Scheduler::room_for(const Sequence& sequence) const {
  const int32_t rows =
      std::min(budget_, ranks_[static_cast<size_t>(sequence.home)].budget);
  return sequence.wants_logits() ? std::min(rows, logit_rows_) : rows;
}

void Scheduler::plan_decodes(ScheduledStep* step) {
  by_merit_ = shares_.by_merit();
  for (ClientAccount* client : by_merit_) decode_all(*client, step);
}

void Scheduler::decode_all(ClientAccount& client, ScheduledStep* step) {
  for (auto it = client.running.begin(); it != client.running.end();) {
    Sequence& sequence = *it->second;
    const SequenceOrder order = sequence.order();
    if (sequence.decoding() && reserve_next_row(sequence, step)) add_chunk(sequence, 1, step);
    it = client.running.upper_bound(order);  // preemption may have removed any from here on
  }
}

// By the size of plans.
bool Scheduler::fits_beside_running(const Sequence& sequence) const {
  return running_.empty() ||
         running_plan_bytes_ + sequence.max_plan_bytes() <= options_.max_plan_bytes;
}

void Scheduler::add_chunk(Sequence& sequence, int32_t rows, ScheduledStep* step) {
  protocol::SequenceChunk chunk = sequence.make_chunk(rows);
  const bool report = chunk.want_logits || chunk.want_routing || chunk.prompt_top_logprobs >= 0;
  chunk.coherent = options_.coherent && rows == 1 && !report;
  // Text that is computed again after a preemption tells as much as a prompt.
  chunk.want_rank_hits =
      options_.match_homes && (sequence.entry()->emitted.empty() || !sequence.decoding());
  flights_.push_back({&sequence, rows, chunk.sample, report, chunk.want_rank_hits});
  const bool prompt = rows > 1 || sequence.entry()->emitted.empty();
  if (prompt && !sequence.entry()->request.probe) step->prompt_rows += rows;
  step->plan.chunks.push_back(std::move(chunk));
  ++sequence.steps;
  const int32_t unpaid = sequence.computed + rows - std::max(sequence.computed, sequence.paid_until);
  shares_.charge(*sequence.client, std::max(unpaid, 0));
  budget_ -= rows;
  if (sequence.wants_logits()) logit_rows_ -= rows;
  home(sequence).budget -= rows;
}

bool Scheduler::reserve_next_row(Sequence& sequence, ScheduledStep* step) {
  Rank& rank = memory(sequence);
  while (static_cast<int32_t>(sequence.blocks.size()) < blocks_for(sequence.length())) {
    if (const auto block = rank.ledger.allocate()) {
      sequence.blocks.push_back(*block);
      continue;
    }
    Sequence& victim = *last_on(sequence.home);
    const bool itself = &victim == &sequence;
    preempt(victim, step);
    if (itself) return false;
  }
  return true;
}

// Who makes room on this rank: the last in order of the client that has been served most. Rows are
// planned in the opposite order, so it is not in this step yet.
Sequence* Scheduler::last_on(int32_t home) {
  for (auto client = by_merit_.rbegin(); client != by_merit_.rend(); ++client) {
    const auto& running = (*client)->running;
    const auto victim = std::find_if(running.rbegin(), running.rend(), [&](const auto& entry) {
      return options_.coherent || entry.second->home == home;
    });
    if (victim != running.rend()) return victim->second;
  }
  return nullptr;  // not while a sequence runs there
}

int32_t Scheduler::shared_blocks(const std::vector<CachedBlock>& blocks, const BlockLedger& ledger) {
  return static_cast<int32_t>(
      std::count_if(blocks.begin(), blocks.end(), [&](const CachedBlock& block) {
        return ledger.references(block.block) > 0;
      }));
}

// The rank that would have the fewest blocks in use; then the fewest running sequences; then the
// lowest.
std::optional<Scheduler::Placing> Scheduler::place(const Sequence& sequence) const {
  const int32_t blocks = blocks_for(sequence.length());
  const int32_t max_cached = uses_cache(sequence) ? (sequence.length() - 1) / kBlockTokens : 0;
  std::optional<Placing> best;
  std::pair<int32_t, int32_t> best_load;
  for (int32_t r = 0; r < ranks(); ++r) {
    const Rank& rank = ranks_[static_cast<size_t>(r)];
    if (rank.budget <= 0 || rank.running >= options_.max_rank_step_tokens) continue;
    const Rank& memory = options_.coherent ? ranks_.front() : rank;
    Placing placing{r, false, memory.ledger.match(sequence.tokens(), max_cached)};
    const auto cached = static_cast<int32_t>(placing.cached.size());
    const int32_t shared = shared_blocks(placing.cached, memory.ledger);
    // One block to spare, so that the newcomer does not preempt at the next token of its
    // neighbours.
    const int32_t neighbours = options_.coherent ? running() : rank.running;
    if (memory.ledger.available() < blocks - shared + (neighbours > 0 ? 1 : 0)) continue;
    placing.wait_for_prefix =
        cached < max_cached &&
        memory.arriving.contains(sequence.block_hashes()[static_cast<size_t>(cached)]);
    const std::pair<int32_t, int32_t> load{memory.ledger.used() + blocks - cached, rank.running};
    if (!best || load < best_load) {
      best = std::move(placing);
      best_load = load;
    }
  }
  return best;
}

void Scheduler::start_running(Sequence& sequence, const Placing& placing, ScheduledStep* step) {
  sequence.client->waiting.erase(sequence.order());
  --waiting_;
  sequence.client->running.emplace(sequence.order(), &sequence);
  sequence.client->last_in = step_;
  running_.emplace(sequence.order(), &sequence);
  running_plan_bytes_ += sequence.max_plan_bytes();
  sequence.home = placing.rank;
  ++home(sequence).running;
  Rank& rank = memory(sequence);
  for (const CachedBlock& cached : placing.cached) {
    rank.ledger.acquire(cached.block);
    sequence.blocks.push_back(cached.block);
    sequence.last_node = cached.node;
  }
  sequence.published = static_cast<int32_t>(placing.cached.size());
  sequence.computed = sequence.published * kBlockTokens;
  while (static_cast<int32_t>(sequence.blocks.size()) < blocks_for(sequence.length())) {
    sequence.blocks.push_back(*rank.ledger.allocate());  // place() has counted them
  }
  if (std::exchange(sequence.displaced, false))
    displacement_credit_ += kRowsPerDisplacedRow * sequence.computed;  // came back for nothing
  announce(sequence, true);
  JournalEntry& entry = *sequence.entry();
  const bool first = entry.cached_prompt_tokens < 0;
  if (first) entry.cached_prompt_tokens = sequence.computed;
  step->admissions.push_back(
      {sequence.id(), first, uses_cache(sequence) ? sequence.length() : 0, sequence.computed});
}

void Scheduler::preempt(Sequence& sequence, ScheduledStep* step) {
  leave_running(sequence);
  sequence.restart();
  wait(sequence);
  ++step->preemptions;
}

bool Scheduler::draw_preemption() { return next_random(&random_state_) % 8 == 0; }

void Scheduler::force_preemption(ScheduledStep* step) {
  if (running_.empty() || !draw_preemption()) return;
  const auto index = static_cast<std::ptrdiff_t>(next_random(&random_state_) % running_.size());
  Sequence& victim = *std::next(running_.begin(), index)->second;
  if (victim.forced_preemptions >= kMaxForcedPreemptions) return;
  ++victim.forced_preemptions;
  preempt(victim, step);
}

// Tells those with the same text that its blocks will soon be in the prefix cache.
void Scheduler::announce(Sequence& sequence, bool arriving) {
  if (!uses_cache(sequence) || sequence.announced == arriving) return;
  sequence.announced = arriving;
  auto& hashes = memory(sequence).arriving;
  if (arriving) {
    for (const uint64_t hash : sequence.block_hashes()) ++hashes[hash];
    return;
  }
  for (const uint64_t hash : sequence.block_hashes()) {
    if (const auto it = hashes.find(hash); it != hashes.end() && --it->second == 0)
      hashes.erase(it);
  }
}

}  // namespace conclave::coordinator
