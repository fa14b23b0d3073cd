#ifndef CONCLAVE_COORDINATOR_ENGINE_CLIENT_SHARES_H_
#define CONCLAVE_COORDINATOR_ENGINE_CLIENT_SHARES_H_

// Whose sequences move next: deficit round robin (Shreedhar and Varghese, SIGCOMM 1995) between
// clients, over rows of prompts and outputs. Pure: no clock, no I/O; steps are its time.
//
// In a round each client may be served kRoundTokens times its weight. How long an answer becomes is
// known only afterwards, so a client may overdraw; it then sits out until rounds have made that up.
// Differences from the textbook: a debt outlives the queue it came from, so that large requests one
// after the other gain nothing; and what is used while nobody waits is free.

#include <cstdint>
#include <list>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "coordinator/engine/engine_inspection.h"

namespace conclave::coordinator {

class Sequence;

// Sooner is less: priority, then order of acceptance. Within one client.
using SequenceOrder = std::pair<int32_t, SequenceId>;

struct ClientAccount {
  std::string name;
  int32_t weight = 1;
  int64_t deficit = 0;  // rows that it may still be served in this round; < 0: overdrawn
  std::map<SequenceOrder, Sequence*> waiting, running;
  int64_t round = -1;   // the last one that it was given its share of
  int64_t last_in = 0;  // step in which it last began to wait or one of its sequences came in

  // Of the step being planned.
  std::vector<Sequence*> prefills;  // running, their text not computed yet, last first
  std::map<SequenceOrder, Sequence*>::iterator cursor;  // into waiting: who is to be looked at next

  bool active() const { return !waiting.empty() || !running.empty(); }
  bool pending() const { return !waiting.empty() || !prefills.empty(); }
  // Comparable between clients: higher has been served less.
  double merit() const { return static_cast<double>(deficit) / weight; }
};

// Not thread-safe.
class ClientShares {
 public:
  static constexpr int64_t kRoundTokens = 256;
  // A debt of more rounds than this is forgiven: memory of a flood must end.
  static constexpr int64_t kMostRoundsOwed = 64;

  // The account of that name, with this weight from now on. Accounts keep their address until they
  // are forgotten: idle and without debt.
  ClientAccount& account(const std::string& name, int32_t weight);
  // Before its first sequence waits. contended: others wait or have prompts to compute.
  void begin_waiting(ClientAccount& client, bool contended);
  void charge(ClientAccount& client, int64_t rows);
  // Its turn is over; all others come first.
  void pass_turn(ClientAccount& client);
  // So many rounds that a client with something pending may be served. None may be before.
  void begin_round();
  bool anyone_entitled() const;  // pending and not overdrawn
  void forget_idle();

  // In the order of turns.
  std::list<ClientAccount>& clients() { return clients_; }
  const std::list<ClientAccount>& clients() const { return clients_; }
  size_t active() const;
  // Those with running sequences, who has been served least first.
  std::vector<ClientAccount*> by_merit();

 private:
  int64_t round_ = 0;
  std::list<ClientAccount> clients_;
  std::unordered_map<std::string, std::list<ClientAccount>::iterator> by_name_;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ENGINE_CLIENT_SHARES_H_
