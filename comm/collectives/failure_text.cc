#include "comm/collectives/failure_text.h"

#include <chrono>
#include <cstdio>

namespace conclave::comm {

std::string name_rank(const MessagePort& port, int rank) {
  return "rank " + std::to_string(rank) + " (host " + port.host(rank) + ")";
}

std::string name_ranks(const MessagePort& port, const std::vector<int>& ranks) {
  std::string text;
  for (size_t i = 0; i < ranks.size(); ++i) {
    if (i != 0) text += i + 1 == ranks.size() ? " and " : ", ";
    text += name_rank(port, ranks[i]);
  }
  return text;
}

std::string name_operation(const MessagePort& port, const OpContext& context) {
  std::string text = name_rank(port, port.rank()) + ": ";
  text.append(context.operation.empty() ? std::string_view("collective") : context.operation);
  if (context.layer >= 0) text += " of layer " + std::to_string(context.layer);
  if (context.step >= 0) text += ", step " + std::to_string(context.step);
  return text;
}

std::string name_age(const Deadline& deadline) {
  const double age_seconds = deadline.age_seconds();
  const std::chrono::duration<double> left = deadline.time() - SteadyClock::now();
  char text[80];
  std::snprintf(text, sizeof text, "after %.3f s (deadline %.3f s)", age_seconds,
                age_seconds + left.count());
  return text;
}

}  // namespace conclave::comm
