#include "worker/worker.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "protocol/messages.h"
#include "worker/health_reporter.h"
#include "worker/host_resources.h"
#include "worker/rank.h"
#include "worker/step_loop.h"

namespace conclave::worker {
namespace {

using protocol::MessageType;

constexpr int64_t kSendDeadlineMs = 10 * 1000;
constexpr int64_t kConfigureDeadlineMs = 10 * 60 * 1000;  // the other ranks may still be starting
constexpr std::chrono::milliseconds kLoadProgressPeriod{100};

template <typename Message>
absl::Status send(const WorkerEnvironment& environment, MessageType type, const Message& message) {
  return environment.channel->send(static_cast<uint16_t>(type), protocol::encode(message),
                                   Deadline::after_ms(kSendDeadlineMs));
}

absl::Status join(const WorkerEnvironment& environment) {
  protocol::Join message;
  message.group = environment.group;
  message.rank = environment.communicator->rank();
  message.size = environment.communicator->size();
  message.host = environment.host;
  message.pid = getpid();
  message.cores = usable_cores();
  message.memory_available_bytes = available_memory_bytes();
  message.kernel_sets = environment.kernels->available();
  return send(environment, MessageType::kJoin, message);
}

// Empty when the coordinator shut the group down before it was configured.
absl::StatusOr<std::optional<protocol::Configure>> receive_configure(
    const WorkerEnvironment& environment) {
  ASSIGN_OR_RETURN(const comm::Frame frame,
                   environment.channel->receive(Deadline::after_ms(kConfigureDeadlineMs)));
  if (frame.type == static_cast<uint16_t>(MessageType::kShutdown)) {
    if (frame.payload.empty()) return std::optional<protocol::Configure>();
    const auto* reason = reinterpret_cast<const char*>(frame.payload.data());
    return absl::FailedPreconditionError(
        absl::StrCat("the coordinator refused this rank: ",
                     absl::string_view(reason, std::min<size_t>(frame.payload.size(), 1024))));
  }
  if (frame.type != static_cast<uint16_t>(MessageType::kConfigure)) {
    return absl::InvalidArgumentError(
        absl::StrCat("the coordinator answered Join with a frame of type ", frame.type));
  }
  ASSIGN_OR_RETURN(protocol::Configure configure, protocol::decode_configure(frame.payload));
  return std::optional<protocol::Configure>(std::move(configure));
}

// The agreed set, or the best one.
absl::StatusOr<std::string> choose_kernels(const WorkerEnvironment& environment,
                                           const protocol::Configure& configure) {
  const std::vector<std::string> available = environment.kernels->available();
  const std::string name =
      configure.kernel_set.empty() && !available.empty() ? available[0] : configure.kernel_set;
  if (std::find(available.begin(), available.end(), name) == available.end()) {
    std::string choices;
    for (const std::string& choice : available) absl::StrAppend(&choices, " ", choice);
    return absl::InvalidArgumentError(
        absl::StrCat("this machine has no kernel set '", name, "'; it has:", choices));
  }
  return name;
}

absl::StatusOr<std::unique_ptr<Rank>> load(const WorkerEnvironment& environment,
                                           const protocol::Configure& configure,
                                           StepProgress* progress) {
  ASSIGN_OR_RETURN(const std::string set, choose_kernels(environment, configure));
  Rank::Environment rank_environment;
  rank_environment.communicator = environment.communicator;
  rank_environment.progress = progress;
  rank_environment.ranks_on_host = environment.ranks_on_host;
  ASSIGN_OR_RETURN(rank_environment.fault, fault_from_environment());
  auto last_report = std::chrono::steady_clock::time_point();
  rank_environment.load_progress = [&](uint64_t done, uint64_t total) -> absl::Status {
    const auto now = std::chrono::steady_clock::now();
    if (done < total && now - last_report < kLoadProgressPeriod) return absl::OkStatus();
    last_report = now;
    return send(environment, MessageType::kLoadProgress, protocol::LoadProgress{done, total});
  };
  rank_environment.on_prepared = [environment](const protocol::Prepared& prepared) {
    // A coordinator that is gone is noticed by the step loop.
    send(environment, MessageType::kPrepared, prepared).IgnoreError();
  };
  if (environment.kernels->is_device(set)) {
    ASSIGN_OR_RETURN(auto device, environment.kernels->make_device(set, configure.compute,
                                                                   environment.rank_on_host));
    return Rank::create(configure, std::move(device), environment.kernels->device_options(),
                        rank_environment);
  }
  ASSIGN_OR_RETURN(auto kernels,
                   environment.kernels->make(set, configure.compute, std::max(1, configure.threads),
                                             configure.first_core));
  return Rank::create(configure, std::move(kernels), rank_environment);
}

// What the rank was told cannot be done here, and will not be possible the next time.
bool is_refusal(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kResourceExhausted:
      return true;
    default:
      return false;
  }
}

// *loaded becomes true once the rank is ready.
absl::Status serve(const WorkerEnvironment& environment, StepProgress* progress, bool* loaded) {
  RETURN_IF_ERROR(join(environment));
  RETURN_IF_ERROR(environment.kernels->check());  // the coordinator listens to failures of those who joined
  ASSIGN_OR_RETURN(const std::optional<protocol::Configure> configure,
                   receive_configure(environment));
  if (!configure) return absl::OkStatus();
  progress->enter("loading");
  // Before loading: a host that stops while it reads weights shall be noticed as soon as later.
  const HealthReporter health(environment.channel, progress, environment.on_fatal);
  ASSIGN_OR_RETURN(const std::unique_ptr<Rank> rank, load(environment, *configure, progress));
  progress->enter("idle");
  *loaded = true;
  RETURN_IF_ERROR(send(environment, MessageType::kReady, rank->ready()));
  return StepLoop(environment.channel, environment.communicator, rank.get(), progress).run();
}

// One sentence that names rank, host, operation, layer and age. What comm says does so already.
std::string failure_text(const WorkerEnvironment& environment, const StepProgress::Snapshot& at,
                         const absl::Status& status) {
  const std::string who = absl::StrCat("rank ", environment.communicator->rank(), " (host ",
                                       environment.host, "): ");
  const std::string message(status.message());
  if (message.rfind(who, 0) == 0) return message;
  std::string text = absl::StrCat(who, at.operation);
  if (at.layer >= 0) absl::StrAppend(&text, " of layer ", at.layer);
  if (at.step >= 0) absl::StrAppend(&text, ", step ", at.step);
  absl::StrAppend(&text, absl::StrFormat(", after %.3f s: ", at.age_seconds), message);
  return text;
}

}  // namespace

absl::Status run_worker(const WorkerEnvironment& environment) {
  StepProgress progress;
  bool loaded = false;
  const absl::Status status = serve(environment, &progress, &loaded);
  if (status.ok()) return status;
  const std::string text = failure_text(environment, progress.read(), status);
  log_error(text);
  // The coordinator may be the one that is gone: then there is nobody to tell.
  send(environment, MessageType::kFailure, protocol::Failure{text, !loaded && is_refusal(status)})
      .IgnoreError();
  return absl::Status(status.code(), text);
}

}  // namespace conclave::worker
