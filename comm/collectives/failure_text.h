#ifndef CONCLAVE_COMM_COLLECTIVES_FAILURE_TEXT_H_
#define CONCLAVE_COMM_COLLECTIVES_FAILURE_TEXT_H_

// The sentences of communication errors (law 4): rank, host, operation, layer, step, peers, age.

#include <string>
#include <vector>

#include "comm/collectives/message_port.h"
#include "comm/communicator.h"

namespace conclave::comm {

// "rank 3 (host d)"
std::string name_rank(const MessagePort& port, int rank);
// "rank 3 (host d) and rank 5 (host e)"
std::string name_ranks(const MessagePort& port, const std::vector<int>& ranks);
// "rank 1 (host b): combine of layer 7, step 42"
std::string name_operation(const MessagePort& port, const OpContext& context);
// "after 2.003 s (deadline 2.000 s)"
std::string name_age(const Deadline& deadline);

}  // namespace conclave::comm

#endif  // CONCLAVE_COMM_COLLECTIVES_FAILURE_TEXT_H_
