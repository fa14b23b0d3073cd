#include "coordinator/engine/client_shares.h"

#include <algorithm>
#include <limits>

namespace conclave::coordinator {

ClientAccount& ClientShares::account(const std::string& name, int32_t weight) {
  auto found = by_name_.find(name);
  if (found == by_name_.end()) {
    // In front: a newcomer waits for nobody's turn to end, and has one round to use.
    clients_.emplace_front().name = name;
    found = by_name_.emplace(name, clients_.begin()).first;
  }
  found->second->weight = std::max(weight, 1);
  return *found->second;
}

void ClientShares::begin_waiting(ClientAccount& client, bool contended) {
  if (!contended) {
    for (ClientAccount& other : clients_) other.deficit = 0;
  }
  // Its share of this round, which it may have missed. Who has nothing running begins anew.
  if (client.deficit >= 0 && (client.running.empty() || client.round < round_)) {
    client.deficit = kRoundTokens * client.weight;
    client.round = round_;
  }
}

void ClientShares::charge(ClientAccount& client, int64_t rows) {
  client.deficit = std::max(client.deficit - rows, -kMostRoundsOwed * kRoundTokens * client.weight);
}

void ClientShares::pass_turn(ClientAccount& client) {
  clients_.splice(clients_.end(), clients_, by_name_.at(client.name));
}

bool ClientShares::anyone_entitled() const {
  return std::any_of(clients_.begin(), clients_.end(), [](const ClientAccount& client) {
    return client.pending() && client.deficit > 0;
  });
}

void ClientShares::begin_round() {
  int64_t rounds = std::numeric_limits<int64_t>::max();
  for (const ClientAccount& client : clients_) {
    const int64_t quantum = kRoundTokens * client.weight;
    if (client.pending()) rounds = std::min(rounds, (quantum - client.deficit) / quantum);
  }
  if (rounds == std::numeric_limits<int64_t>::max()) return;
  round_ += rounds;
  for (ClientAccount& client : clients_) {
    client.deficit += rounds * kRoundTokens * client.weight;
    if (client.pending()) {
      client.round = round_;
    } else {
      client.deficit = std::min<int64_t>(client.deficit, 0);
    }
  }
}

void ClientShares::forget_idle() {
  for (auto it = clients_.begin(); it != clients_.end();) {
    const bool idle = !it->active() && it->deficit >= 0;
    if (idle) by_name_.erase(it->name);
    it = idle ? clients_.erase(it) : std::next(it);
  }
}

size_t ClientShares::active() const {
  return static_cast<size_t>(
      std::count_if(clients_.begin(), clients_.end(),
                    [](const ClientAccount& client) { return client.active(); }));
}

std::vector<ClientAccount*> ClientShares::by_merit() {
  const auto better = [](const ClientAccount* a, const ClientAccount* b) {
    return a->merit() > b->merit();
  };
  std::vector<ClientAccount*> clients;
  for (ClientAccount& client : clients_) {
    if (client.running.empty()) continue;
    clients.insert(std::upper_bound(clients.begin(), clients.end(), &client, better), &client);
  }
  return clients;
}

}  // namespace conclave::coordinator
