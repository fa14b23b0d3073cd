// The part of Scheduler in which clients take turns: rows of prompts, and places for those who
// wait.

#include <algorithm>
#include <utility>

#include "coordinator/engine/scheduler.h"

namespace conclave::coordinator {

// Decodes are planned. everybody: whether all clients' sequences may come in, or the claimant's
// alone; prompts that are being computed go on in any case.
void Scheduler::plan_turns(bool everybody, const ClientAccount* claimant, ScheduledStep* step) {
  for (ClientAccount& client : shares_.clients()) {
    const bool open = everybody || &client == claimant;
    client.prefills.clear();
    client.cursor = open ? client.waiting.begin() : client.waiting.end();
    for (auto it = client.running.rbegin(); it != client.running.rend(); ++it) {
      if (it->second->steps == 0) client.prefills.push_back(it->second);
    }
  }
  for (bool served = true; served && budget_ > 0;) {
    if (!shares_.anyone_entitled()) shares_.begin_round();
    served = serve_entitled(step);
  }
  serve_overdrawn(step);
}

// Each in its turn, until it has had its share of the round or nothing more of it fits into the
// step. False if nothing did.
bool Scheduler::serve_entitled(ScheduledStep* step) {
  bool served = false;
  auto next = shares_.clients().begin();
  for (size_t left = shares_.clients().size(); left > 0 && budget_ > 0; --left) {
    ClientAccount& client = *next++;
    while (client.deficit > 0 && budget_ > 0 && serve_next(client, step)) served = true;
    if (client.deficit <= 0) shares_.pass_turn(client);
  }
  return served;
}

// What those who are entitled cannot use. But a newcomer for whom there was no room shall not wait
// until others, served ahead of it, let some be left over.
void Scheduler::serve_overdrawn(ScheduledStep* step) {
  std::list<ClientAccount>& clients = shares_.clients();
  const bool hold = std::any_of(clients.begin(), clients.end(), [&](const ClientAccount& client) {
    return client.running.empty() && has_waited(client, kPatience);
  });
  for (ClientAccount& client : clients) {
    if (hold && client.deficit <= 0) client.cursor = client.waiting.end();
  }
  for (bool served = true; served;) {
    served = false;
    for (ClientAccount& client : clients) {
      if (budget_ > 0 && client.deficit <= 0 && serve_next(client, step)) served = true;
    }
  }
}

// One more chunk. False if there is none or no room for it.
bool Scheduler::serve_next(ClientAccount& client, ScheduledStep* step) {
  while (!client.prefills.empty()) {
    Sequence& sequence = *client.prefills.back();
    client.prefills.pop_back();
    const int32_t rows = room_for(sequence);
    if (rows <= 0) continue;
    add_chunk(sequence, sequence.clip_rows(rows), step);
    return true;
  }
  return admit_next(client, step);
}

bool Scheduler::admit_next(ClientAccount& client, ScheduledStep* step) {
  for (; client.cursor != client.waiting.end() && running() < options_.max_running;
       ++client.cursor) {
    Sequence& sequence = *client.cursor->second;
    const std::optional<Placing> placing =
        fits_beside_running(sequence) ? place(sequence) : std::nullopt;
    // In order: those behind may not take the room that the first one waits for.
    if (!placing) break;
    if (placing->wait_for_prefix) continue;
    if (sequence.wants_logits() && logit_rows_ <= 0) break;
    ++client.cursor;
    start_running(sequence, *placing, step);
    add_chunk(sequence, sequence.clip_rows(room_for(sequence)), step);
    return true;
  }
  client.cursor = client.waiting.end();
  return false;
}

// The step is planned. A round ends here as well: steps ahead have no turns.
void Scheduler::end_turns(int64_t rows) {
  prompts_left_ = std::any_of(flights_.begin(), flights_.end(),
                              [](const Flight& flight) { return !flight.sample; });
  if (!shares_.anyone_entitled()) shares_.begin_round();
  for (ClientAccount& client : shares_.clients()) {
    prompts_left_ = prompts_left_ || !client.prefills.empty();
    client.prefills.clear();
  }
  displacement_credit_ = std::min(displacement_credit_ + rows, most_displacement_credit());
}

// Entitled, and nothing of it came in for so many steps.
bool Scheduler::has_waited(const ClientAccount& client, int64_t steps) const {
  return !client.waiting.empty() && client.deficit > 0 && step_ - client.last_in >= steps;
}

// ---- Displacement: who is entitled and finds no room gets it from those who were served ahead of
// it; their sequences are computed again later, to the same tokens. It costs rows, so it has a
// budget: an eighth of all rows, in the long run.

int64_t Scheduler::most_displacement_credit() const {
  return kRowsPerDisplacedRow * 4 * max_model_len_;
}

bool Scheduler::may_displace(const ClientAccount& claimant, const ClientAccount& victim) const {
  if (&claimant == &victim || victim.merit() >= claimant.merit()) return false;
  if (victim.deficit <= 0) return true;
  // Nobody shall have nothing while another has much.
  return claimant.running.empty() &&
         (victim.running.size() > 1 || has_waited(claimant, kLongPatience));
}

// In the order in which they would have to go.
std::vector<Sequence*> Scheduler::displaceable(const ClientAccount& claimant) {
  std::vector<Sequence*> sequences;
  std::vector<ClientAccount*> clients = shares_.by_merit();
  for (auto victim = clients.rbegin(); victim != clients.rend(); ++victim) {
    if (!may_displace(claimant, **victim)) continue;
    const auto& running = (*victim)->running;
    size_t stay = (*victim)->deficit > 0 && running.size() > 1 ? 1 : 0;
    for (auto it = running.rbegin(); it != running.rend() && running.size() - stay > 0;
         ++it, ++stay)
      sequences.push_back(it->second);
  }
  return sequences;
}

// Those of the candidates, on one rank, that make room for the newcomer there; empty if they
// cannot.
std::vector<Sequence*> Scheduler::victims_on(int32_t rank, const Sequence& newcomer,
                                             const std::vector<Sequence*>& candidates) const {
  const BlockLedger& ledger = this->ledger(rank);
  const int32_t most = uses_cache(newcomer) ? (newcomer.length() - 1) / kBlockTokens : 0;
  int32_t missing = blocks_for(newcomer.length()) + 1 - ledger.available() -
                    shared_blocks(ledger.match(newcomer.tokens(), most), ledger);
  int64_t bytes = running_plan_bytes_ + newcomer.max_plan_bytes() - options_.max_plan_bytes;
  int32_t places = running() + 1 - options_.max_running;
  int64_t rows = 0;
  std::vector<Sequence*> victims;
  for (Sequence* victim : candidates) {
    if (missing <= 0 && bytes <= 0 && places <= 0) break;
    if (missing > 0 && !options_.coherent && victim->home != rank) continue;
    if (options_.coherent || victim->home == rank)
      missing -= static_cast<int32_t>(victim->blocks.size());
    bytes -= victim->max_plan_bytes();
    --places;
    rows += victim->computed;
    victims.push_back(victim);
  }
  const bool enough = missing <= 0 && bytes <= 0 && places <= 0;
  if (!enough || rows > displacement_credit_ / kRowsPerDisplacedRow + max_model_len_) victims.clear();
  return victims;
}

std::vector<Sequence*> Scheduler::victims_of(const ClientAccount& claimant) {
  const Sequence& newcomer = *claimant.waiting.begin()->second;
  if (running() < options_.max_running && fits_beside_running(newcomer) && place(newcomer))
    return {};
  const std::vector<Sequence*> candidates = displaceable(claimant);
  std::vector<Sequence*> fewest;
  for (int32_t rank = 0; rank < (options_.coherent ? 1 : ranks()); ++rank) {
    std::vector<Sequence*> victims = victims_on(rank, newcomer, candidates);
    if (!victims.empty() && (fewest.empty() || victims.size() < fewest.size()))
      fewest = std::move(victims);
  }
  return fewest;
}

std::optional<Scheduler::Claim> Scheduler::claim() {
  if (displacement_credit_ <= 0 || shares_.clients().size() < 2) return std::nullopt;
  for (ClientAccount& client : shares_.clients()) {
    // Who is served already can wait a little longer for more.
    if (!has_waited(client, client.running.empty() ? kPatience : kPatienceForMore)) continue;
    std::vector<Sequence*> victims = victims_of(client);
    if (!victims.empty()) return Claim{&client, std::move(victims)};
  }
  return std::nullopt;
}

const ClientAccount* Scheduler::make_room(ScheduledStep* step) {
  const std::optional<Claim> claim = this->claim();
  if (!claim) return nullptr;
  for (Sequence* victim : claim->victims) {
    displacement_credit_ -= kRowsPerDisplacedRow * victim->computed;
    victim->displaced = true;
    victim->paid_until = std::max(victim->paid_until, victim->computed);
    preempt(*victim, step);
  }
  return claim->client;
}

}  // namespace conclave::coordinator
