#include "coordinator/engine/group_configuration.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"

namespace conclave::coordinator {
namespace {

bool has(const protocol::Join& join, const std::string& set) {
  return std::find(join.kernel_sets.begin(), join.kernel_sets.end(), set) != join.kernel_sets.end();
}

const protocol::Join* first_without(std::span<const protocol::Join> joins, const std::string& set) {
  const auto it = std::find_if(joins.begin(), joins.end(),
                               [&](const protocol::Join& join) { return !has(join, set); });
  return it == joins.end() ? nullptr : &*it;
}

}  // namespace

absl::StatusOr<std::string> agree_kernel_set(std::span<const protocol::Join> joins,
                                             const std::string& override) {
  for (const protocol::Join& join : joins) {
    if (!join.kernel_sets.empty()) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("rank ", join.rank, " on host ", join.host,
                     " can run nothing of what it was asked for (its log says why): use --device cpu,"
                     " or give each rank a GPU"));
  }
  if (!override.empty()) {
    const protocol::Join* without = first_without(joins, override);
    if (without == nullptr) return override;
    return absl::FailedPreconditionError(absl::StrCat(
        "kernel set '", override, "' was asked for, but rank ", without->rank, " on host ",
        without->host, " can run only: ", absl::StrJoin(without->kernel_sets, ", ")));
  }
  for (const std::string& set : joins.front().kernel_sets) {
    if (first_without(joins, set) == nullptr) return set;
  }
  return absl::FailedPreconditionError(
      absl::StrCat("no kernel set can run on all ranks; rank 0 on host ", joins.front().host,
                   " has: ", absl::StrJoin(joins.front().kernel_sets, ", ")));
}

absl::StatusOr<std::vector<protocol::Configure>> configure_ranks(
    std::span<const protocol::Join> joins, const protocol::Configure& model,
    const ThreadOptions& threads) {
  ASSIGN_OR_RETURN(const std::string kernel_set, agree_kernel_set(joins, model.kernel_set));
  std::map<std::string, int32_t> ranks_on_host;
  for (const protocol::Join& join : joins) ++ranks_on_host[join.host];
  std::map<std::string, int32_t> next_core;
  std::vector<protocol::Configure> configures;
  for (const protocol::Join& join : joins) {
    const int32_t ranks = ranks_on_host[join.host];
    protocol::Configure configure = model;
    configure.kernel_set = kernel_set;
    configure.threads =
        threads.threads_per_rank > 0 ? threads.threads_per_rank : std::max(1, join.cores / ranks);
    configure.first_core = -1;
    if (threads.pin && configure.threads * ranks <= join.cores) {
      configure.first_core = next_core[join.host];
      next_core[join.host] += configure.threads;
    }
    configures.push_back(std::move(configure));
  }
  return configures;
}

}  // namespace conclave::coordinator
