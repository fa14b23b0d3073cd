#include "coordinator/admin/health_checks.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "coordinator/engine/readiness.h"

namespace conclave::coordinator {
namespace {

constexpr double kStaleHeartbeatSeconds = 1.0;
constexpr double kStuckOperationSeconds = 5.0;
constexpr int32_t kLongQueue = 64;

std::string name_of(const RankStatus& rank) {
  return absl::StrCat("rank ", rank.rank, " (host ", rank.host.empty() ? "?" : rank.host, ", pid ",
                      rank.pid, ")");
}

// With when the state that is complained of began, where that is known.
std::vector<std::string> since(const EngineStatus& status, std::vector<std::string> details) {
  if (status.since > 0) details.push_back("since " + utc_text(status.since));
  return details;
}

void check_group(const EngineStatus& status, std::vector<HealthCheck>* out) {
  const bool starting =
      status.state == GroupState::kStarting || status.state == GroupState::kLoading;
  if (starting) {
    out->push_back({"GROUP_LOADING", Severity::kWarning, "the worker group is starting",
                    since(status, {readiness(status).reason}),
                    "wait; `conclavectl wait --for=ready` returns when it is done"});
  }
  if (status.state == GroupState::kFailed) {
    out->push_back({"GROUP_FAILED", Severity::kError, "the worker group failed and is not back yet",
                    since(status, {status.last_failure}),
                    "it restarts by itself with a growing pause; if it does not come back, look at "
                    "the host and rank named here"});
  }
  if (status.state == GroupState::kStopped) {
    out->push_back({"GROUP_STOPPED", Severity::kError, "the worker group has ended for good",
                    since(status, {status.last_failure}), "start the coordinator again"});
  }
  if (status.restarts > 0 && status.state == GroupState::kReady) {
    out->push_back({"GROUP_RESTARTED",
                    Severity::kWarning,
                    absl::StrCat("the worker group was restarted ", status.restarts,
                                 status.restarts == 1 ? " time" : " times"),
                    {status.last_failure},
                    "find out why the rank named here failed before it happens again"});
  }
}

void check_admission(const EngineStatus& status, std::vector<HealthCheck>* out) {
  if (!status.handed_over_to.empty()) {
    out->push_back({"HANDED_OVER", Severity::kWarning,
                    absl::StrCat("new requests are passed on to ", status.handed_over_to),
                    since(status, {}),
                    "point clients and monitoring there; this coordinator ends by itself"});
  } else if (!status.cordon_reason.empty()) {
    out->push_back({"CORDONED", Severity::kWarning,
                    absl::StrCat("new requests are refused: ", status.cordon_reason),
                    since(status, {}), "`conclavectl undrain` takes requests again"});
  } else if (status.draining) {
    out->push_back({"DRAINING", Severity::kWarning,
                    absl::StrCat("the coordinator is ending; ", status.open, " requests are open"),
                    since(status, {}), "nothing; it exits when they are done"});
  }
}

void check_ranks(const EngineStatus& status, std::vector<HealthCheck>* out) {
  if (status.state != GroupState::kReady && status.state != GroupState::kDraining) return;
  HealthCheck down{
      "RANK_DOWN", Severity::kError, "", {}, "the group restarts; see the log of that host"};
  HealthCheck stale{"RANK_SILENT",
                    Severity::kWarning,
                    "",
                    {},
                    "the host may be overloaded or its network slow; the group restarts when the "
                    "heartbeat time-out passes"};
  HealthCheck stuck{
      "RANK_STUCK", Severity::kWarning, "", {}, "look at that host; the step deadline ends a hang"};
  for (const RankStatus& rank : status.ranks) {
    if (!rank.connected) {
      down.details.push_back(name_of(rank));
    } else if (rank.heartbeat_age_seconds > kStaleHeartbeatSeconds) {
      stale.details.push_back(
          absl::StrFormat("%s: silent for %.1f s", name_of(rank), rank.heartbeat_age_seconds));
    } else if (rank.operation != "idle" && rank.operation_age_seconds > kStuckOperationSeconds) {
      stuck.details.push_back(absl::StrFormat("%s: in '%s' of layer %d for %.1f s", name_of(rank),
                                              rank.operation, rank.layer,
                                              rank.operation_age_seconds));
    }
  }
  const auto add = [&](HealthCheck check, const char* what) {
    if (check.details.empty()) return;
    check.summary =
        absl::StrCat(check.details.size(), " of ", status.ranks.size(), " ranks ", what);
    out->push_back(std::move(check));
  };
  add(std::move(down), "are not connected");
  add(std::move(stale), "are silent");
  add(std::move(stuck), "do not move on");
}

void check_load(const HealthInput& input, std::vector<HealthCheck>* out) {
  const EngineStatus& status = input.status;
  if (status.kv_blocks > 0 && status.kv_blocks_used >= input.kv_warning_ratio * status.kv_blocks) {
    out->push_back({"KV_NEARLY_FULL",
                    Severity::kWarning,
                    absl::StrFormat("%d of %d key/value blocks are in use", status.kv_blocks_used,
                                    status.kv_blocks),
                    {},
                    "requests will be preempted and recomputed; give --kv-memory more, or limit "
                    "--max-running"});
  }
  if (status.waiting >= kLongQueue) {
    out->push_back({"QUEUE_LONG",
                    Severity::kWarning,
                    absl::StrCat(status.waiting, " requests wait"),
                    {},
                    "the cluster is at its limit: add ranks, or lower --max-queue so that clients "
                    "are told earlier"});
  }
}

void check_balance(const HealthInput& input, std::vector<HealthCheck>* out) {
  HealthCheck check{"EXPERTS_IMBALANCED",
                    Severity::kWarning,
                    "",
                    {},
                    "`conclavectl placement plan` says what a better placement would gain"};
  for (size_t layer = 0; layer < input.layer_max_over_mean.size(); ++layer) {
    const double ratio = input.layer_max_over_mean[layer];
    if (ratio < input.imbalance_warning) continue;
    check.details.push_back(
        absl::StrFormat("MoE layer %d: the busiest rank has %.2f times the mean", layer, ratio));
  }
  if (check.details.empty()) return;
  check.summary = absl::StrCat("expert load is uneven in ", check.details.size(), " of ",
                               input.layer_max_over_mean.size(), " layers");
  out->push_back(std::move(check));
}

void check_model_folder(const ModelFolderFindings& findings, std::vector<HealthCheck>* out) {
  if (!findings.gone.empty()) {
    out->push_back({"MODEL_GONE", Severity::kError,
                    "the model's files are not there: the next restart of the worker group cannot "
                    "load it",
                    findings.gone,
                    "put the folder back as it was, or start a coordinator with another one and "
                    "hand over"});
  }
  if (!findings.changed.empty()) {
    out->push_back({"MODEL_CHANGED", Severity::kError,
                    "the model's files are not those that were loaded: the next restart of the "
                    "worker group fails",
                    findings.changed,
                    "put the files back as they were; if the change is meant, start a coordinator "
                    "with them and hand over"});
  }
  if (findings.silent_seconds > 0) {
    out->push_back(
        {"MODEL_UNREACHABLE",
         Severity::kError,
         absl::StrFormat("the model's file system has not answered for %.0f s: a restart "
                         "of the worker group could not load",
                         findings.silent_seconds),
         {},
         "look at the mount of the model's folder on the coordinator's host"});
  }
}

}  // namespace

const char* severity_name(Severity severity) {
  switch (severity) {
    case Severity::kOk:
      return "OK";
    case Severity::kWarning:
      return "WARN";
    case Severity::kError:
      return "ERROR";
  }
  return "?";
}

std::vector<HealthCheck> health_checks(const HealthInput& input) {
  std::vector<HealthCheck> checks;
  check_group(input.status, &checks);
  check_admission(input.status, &checks);
  check_ranks(input.status, &checks);
  check_load(input, &checks);
  check_balance(input, &checks);
  check_model_folder(input.model_folder, &checks);
  std::vector<HealthCheck> sorted;
  for (const Severity severity : {Severity::kError, Severity::kWarning}) {
    for (HealthCheck& check : checks) {
      if (check.severity == severity) sorted.push_back(std::move(check));
    }
  }
  return sorted;
}

Severity worst_severity(const std::vector<HealthCheck>& checks) {
  return checks.empty() ? Severity::kOk : checks.front().severity;
}

}  // namespace conclave::coordinator
