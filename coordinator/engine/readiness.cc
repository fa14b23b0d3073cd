#include "coordinator/engine/readiness.h"

#include <algorithm>
#include <chrono>
#include <ctime>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace conclave::coordinator {
namespace {

std::string loading_text(const EngineStatus& status) {
  if (status.checking) return "the model is loaded and answers a first prompt (start-up check)";
  uint64_t done = 0, total = 0;
  for (const RankStatus& rank : status.ranks) {
    done += rank.load_bytes_done;
    total += rank.load_bytes_total;
  }
  if (total == 0) return "the ranks are about to load the model";
  return absl::StrFormat("the model is being loaded: %d of %d MiB (%.0f %%)", done >> 20,
                         total >> 20,
                         100.0 * static_cast<double>(done) / static_cast<double>(total));
}

std::string starting_text(const EngineStatus& status) {
  const auto here = std::count_if(status.ranks.begin(), status.ranks.end(),
                                  [](const RankStatus& rank) { return rank.connected; });
  return absl::StrCat("the worker group is starting: ", here, " of ", status.ranks.size(),
                      " ranks have joined");
}

// "" while the group can serve.
std::string group_text(const EngineStatus& status) {
  std::string text;
  switch (status.state) {
    case GroupState::kReady:
    case GroupState::kDraining:
      return "";
    case GroupState::kStopped:
      return "the worker group has ended";
    case GroupState::kStarting:
      text = starting_text(status);
      break;
    case GroupState::kLoading:
      text = loading_text(status);
      break;
    case GroupState::kFailed:
      text = status.start_failure == EngineStatus::StartFailure::kNone
                 ? "the worker group failed and is being restarted"
                 : "the worker group could not be started";
      break;
  }
  if (!status.last_failure.empty()) {
    absl::StrAppend(
        &text, status.state == GroupState::kFailed ? ": " : "; before that: ", status.last_failure);
  }
  return text;
}

std::string admission_text(const EngineStatus& status) {
  if (!status.handed_over_to.empty())
    return absl::StrCat("handed over: new requests are passed on to ", status.handed_over_to);
  if (!status.draining && status.state != GroupState::kDraining) return "";
  const std::string open = absl::StrCat("; ", status.open, " requests are open");
  if (!status.cordon_reason.empty())
    return absl::StrCat("cordoned, no new requests are taken: ", status.cordon_reason, open);
  return "the server is draining: it finishes the requests it has and takes no others" + open;
}

}  // namespace

Readiness readiness(const EngineStatus& status) {
  Readiness result;
  result.since = status.since;
  const std::string admission = admission_text(status), group = group_text(status);
  result.reason = absl::StrCat(admission, admission.empty() || group.empty() ? "" : "; ", group);
  result.ready = result.reason.empty();
  return result;
}

double unix_time() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

std::string utc_text(double unix_time) {
  if (unix_time <= 0) return "";
  const auto seconds = static_cast<std::time_t>(unix_time);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char text[32];
  return {text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc)};
}

}  // namespace conclave::coordinator
