#include "coordinator/engine/create_engine.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/engine/engine_impl.h"
#include "expert_placement/table/placement_table.h"

namespace conclave::coordinator {
namespace {

absl::Status require_positive(const char* name, int32_t value) {
  if (value > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(name, " is ", value, "; it must be at least 1"));
}

absl::Status check(const EngineOptions& options) {
  RETURN_IF_ERROR(require_positive("the number of ranks", options.ranks));
  RETURN_IF_ERROR(require_positive("max_model_len", options.max_model_len));
  RETURN_IF_ERROR(require_positive("max_running", options.max_running));
  RETURN_IF_ERROR(require_positive("max_queue", options.max_queue));
  RETURN_IF_ERROR(require_positive("max_step_tokens", options.max_step_tokens));
  RETURN_IF_ERROR(require_positive("step_deadline_ms", options.step_deadline_ms));
  RETURN_IF_ERROR(require_positive("heartbeat_timeout_ms", options.heartbeat_timeout_ms));
  RETURN_IF_ERROR(require_positive("restart_backoff_ms", options.restart_backoff_ms));
  if (options.max_rank_step_tokens < 0 || options.idle_sleep_ms < 0) {
    return absl::InvalidArgumentError("max_rank_step_tokens and idle_sleep_ms must be 0 or more");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Engine>> create_engine(EngineOptions options,
                                                      std::unique_ptr<GroupTransport> transport) {
  RETURN_IF_ERROR(check(options));
  if (options.max_rank_step_tokens == 0 || options.max_rank_step_tokens > options.max_step_tokens) {
    options.max_rank_step_tokens = options.max_step_tokens;
  }
  auto table =
      placement::PlacementTable::contiguous(options.moe_layers, options.experts, options.ranks);
  if (!options.configure.placement_json.empty()) {
    ASSIGN_OR_RETURN(table, placement::PlacementTable::from_json(options.configure.placement_json,
                                                                 "the placement table"));
  }
  auto engine =
      std::make_unique<EngineImpl>(std::move(options), std::move(table), std::move(transport));
  engine->start();
  return std::unique_ptr<Engine>(std::move(engine));
}

}  // namespace conclave::coordinator
