#include "coordinator/engine/worker_group.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/log.h"

namespace conclave::coordinator {
namespace {

using std::chrono::milliseconds;
using Time = WorkerGroup::Time;

constexpr milliseconds kPollPeriod{50};  // for what rings no bell: a launched process that ends
constexpr milliseconds kJoinFrameTimeout{5000};
constexpr milliseconds kStopTimeout{
    10000};  // after the grace, for processes that do not want to end
// A little more than a heartbeat period.
constexpr milliseconds kWitnessWait{protocol::kHealthPeriodMs + 50};
// mpirun tells how a rank ended about a second after it did.
constexpr milliseconds kRankEndWait{3000};
constexpr double kLoadingPatience = 4;           // times heartbeat_timeout
constexpr milliseconds kStableAfter{30000};  // ready for so long: the next restart is quick again

double seconds_between(Time from, Time to) {
  return std::chrono::duration<double>(to - from).count();
}
double seconds(milliseconds duration) { return std::chrono::duration<double>(duration).count(); }

}  // namespace

WorkerGroup::WorkerGroup(GroupOptions options, std::unique_ptr<GroupTransport> transport,
                         std::function<void()> ring)
    : options_(std::move(options)),
      transport_(std::move(transport)),
      inbox_(std::make_shared<GroupInbox>(std::move(ring))),
      backoff_(options_.backoff) {}

WorkerGroup::~WorkerGroup() {
  inbox_->close();
  drop_connections();
  transport_.reset();  // no connection arrives from here on
}

void WorkerGroup::start(Time now) { begin_incarnation(now); }

void WorkerGroup::begin_incarnation(Time now) {
  ++incarnation_;
  if (!confirmed_) ++attempts_;
  state_ = GroupState::kStarting;
  state_since_ = now;
  ranks_.assign(static_cast<size_t>(options_.ranks), Rank{});
  asleep_ = true;
  in_flight_.clear();
  last_refusal_.clear();
  const absl::Status status = transport_->start(
      [inbox = inbox_, incarnation = incarnation_](std::unique_ptr<comm::ChannelPeer> peer) {
        inbox->put(NewConnection{incarnation, std::move(peer)});
      });
  if (status.ok()) return;
  const bool lasting = absl::IsNotFound(status) || absl::IsPermissionDenied(status) ||
                       absl::IsInvalidArgument(status) || absl::IsFailedPrecondition(status);
  fail(absl::StrCat("the worker group cannot start: ", std::string(status.message())), now,
       lasting ? FailureKind::kRefusal : FailureKind::kDeath);
}

std::vector<GroupEvent> WorkerGroup::poll(Time now) {
  for (GroupMail& mail : inbox_->take()) {
    if (auto* connection = std::get_if<NewConnection>(&mail)) {
      accept(std::move(*connection), now);
    } else if (auto* frame = std::get_if<ConnectionFrame>(&mail)) {
      handle_frame(frame->connection, frame->frame, now);
    } else {
      handle_closed(std::get<ConnectionClosed>(mail), now);
    }
  }
  check_timers(now);
  return std::exchange(events_, {});
}

void WorkerGroup::accept(NewConnection mail, Time now) {
  if (mail.incarnation != incarnation_ || state_ == GroupState::kFailed || stopping_) {
    mail.peer->close();
    return;
  }
  const uint64_t id = next_connection_++;
  Connection& connection = connections_[id];
  connection.peer = std::move(mail.peer);
  connection.since = now;
  connection.peer->start({
      [inbox = inbox_, id](comm::Frame frame) {
        inbox->put(ConnectionFrame{id, std::move(frame)});
      },
      [inbox = inbox_, id](absl::Status why) {
        inbox->put(ConnectionClosed{id, std::move(why)});
      },
  });
}

void WorkerGroup::handle_closed(const ConnectionClosed& mail, Time now) {
  const auto it = connections_.find(mail.connection);
  if (it == connections_.end()) return;
  const int32_t rank = it->second.rank;
  const bool expected = it->second.closing || rank < 0 || stopping_;
  connections_.erase(mail.connection);
  if (expected || lost_) return;
  lost_ = Lost{rank, now};
  check_lost(now);
}

void WorkerGroup::handle_frame(uint64_t id, const comm::Frame& frame, Time now) {
  const auto it = connections_.find(id);
  if (it == connections_.end() || it->second.closing) return;
  const int32_t rank = it->second.rank;
  if (rank < 0) return handle_join(id, frame, now);
  rank_at(rank).heard = now;
  handle_rank_frame(rank, frame, now);
}

void WorkerGroup::handle_join(uint64_t id, const comm::Frame& frame, Time now) {
  Connection& connection = connections_.at(id);
  absl::Status status = absl::InvalidArgumentError("its first frame is not a Join");
  if (frame.type == static_cast<uint16_t>(protocol::MessageType::kJoin)) {
    auto join = protocol::decode_join(frame.payload);
    status = join.ok() ? check_join(*join) : join.status();
    if (status.ok()) {
      connection.rank = join->rank;
      Rank& rank = rank_at(join->rank);
      rank = Rank{};
      rank.connection = id;
      rank.join = *std::move(join);
      rank.heard = rank.health_at = now;
    }
  }
  if (!status.ok()) {
    // A stranger must not bring the group down; a group that misses ranks fails by its join
    // timeout.
    last_refusal_ = absl::StrCat("a worker at ", connection.peer->remote_address(),
                                 " was refused: ", std::string(status.message()));
    log_warning(last_refusal_);
    const auto* reason = reinterpret_cast<const std::byte*>(status.message().data());
    (void)connection.peer->send(static_cast<uint16_t>(protocol::MessageType::kShutdown),
                                {reason, reason + status.message().size()});
    return close_connection(id);
  }
  const protocol::Join& join = rank_at(connection.rank).join;
  if (connection.peer->remote_address().rfind("127.", 0) == 0)
    transport_->adopt_local_process(join.pid);
  if (std::all_of(ranks_.begin(), ranks_.end(), [](const Rank& r) { return r.connection != 0; }))
    configure(now);
}

absl::Status WorkerGroup::check_join(const protocol::Join& join) const {
  const auto refuse = [&](const std::string& why) {
    return absl::InvalidArgumentError(
        absl::StrCat("rank ", join.rank, " on host ", join.host, " ", why));
  };
  if (join.group != options_.group) {
    return refuse(
        absl::StrCat("belongs to group ", join.group, ", this is group ", options_.group));
  }
  if (join.size != options_.ranks) {
    return refuse(
        absl::StrCat("is one of ", join.size, " ranks, but the group has ", options_.ranks));
  }
  if (join.rank < 0 || join.rank >= options_.ranks) return refuse("is no rank of this group");
  if (rank_at(join.rank).connection != 0)
    return refuse(absl::StrCat("joined twice; ", describe(join.rank), " is here already"));
  if (state_ != GroupState::kStarting) return refuse("came late");
  return absl::OkStatus();
}

void WorkerGroup::configure(Time now) {
  std::vector<protocol::Join> joins;
  for (const Rank& rank : ranks_) joins.push_back(rank.join);
  const auto configures = configure_ranks(joins, options_.configure, options_.threads);
  if (!configures.ok())
    return fail(std::string(configures.status().message()), now, FailureKind::kRefusal);
  kernel_set_ = configures->front().kernel_set;
  state_ = GroupState::kLoading;
  for (Rank& rank : ranks_) rank.load_at = now;
  state_since_ = now;
  for (int32_t rank = 0; rank < options_.ranks; ++rank) {
    const auto& message = (*configures)[static_cast<size_t>(rank)];
    if (!send_to(rank, protocol::MessageType::kConfigure, protocol::encode(message), now)) return;
  }
}

bool WorkerGroup::send_to(int32_t rank, protocol::MessageType type, std::vector<std::byte> payload,
                          Time now) {
  const auto it = connections_.find(rank_at(rank).connection);
  const absl::Status status =
      it == connections_.end()
          ? absl::UnavailableError("the connection is gone")
          : it->second.peer->send(static_cast<uint16_t>(type), std::move(payload));
  if (status.ok()) return true;
  // Of a rank that ends while a step runs, the end of its connection is about to be told, and that
  // sentence says where it was.
  if (in_flight_.size() > 1 && absl::IsUnavailable(status)) return false;
  fail(absl::StrCat(describe(rank), " cannot be reached: ", std::string(status.message()), " ",
                    doing(rank, now)),
       now);
  return false;
}

void WorkerGroup::send_plan(const protocol::StepPlan& plan, Time now) {
  if (in_flight_.empty()) step_began_ = now;
  in_flight_.push_back({plan.step, milliseconds(plan.deadline_ms) + options_.step_margin});
  if (asleep_) {
    asleep_ = false;
    for (int32_t rank = 1; rank < options_.ranks; ++rank) {
      if (!send_to(rank, protocol::MessageType::kWake, {}, now)) return;
    }
  }
  send_to(0, protocol::MessageType::kPlan, protocol::encode(plan), now);
}

void WorkerGroup::send_sleep(int64_t step, Time now) {
  protocol::StepPlan plan;
  plan.step = step;
  plan.sleep = true;
  asleep_ = true;
  send_to(0, protocol::MessageType::kPlan, protocol::encode(plan), now);
}

void WorkerGroup::note_start_failure(FailureKind kind) {
  using StartFailure = EngineStatus::StartFailure;
  const bool ours = transport_->has_processes();
  const bool used_up = ours && options_.start_attempts > 0 && attempts_ >= options_.start_attempts;
  if (kind == FailureKind::kRefusal && (ours || final_)) {
    start_failure_ = StartFailure::kRefused;
  } else if (final_ || used_up) {
    start_failure_ = StartFailure::kDied;
  }
  final_ = final_ || start_failure_ != StartFailure::kNone;
}

void WorkerGroup::fail(const std::string& sentence, Time now, FailureKind kind) {
  if (state_ == GroupState::kFailed || state_ == GroupState::kStopped) return;
  if (state_ == GroupState::kReady && now - state_since_ >= kStableAfter)
    backoff_ = options_.backoff;
  last_failure_ = sentence;
  log_error("worker group failed", {{"group", absl::StrCat(options_.group)}, {"why", sentence}});
  final_ = !options_.restart || !transport_->can_restart() || stopping_;
  if (!confirmed_) note_start_failure(kind);
  state_ = GroupState::kFailed;
  state_since_ = now;
  in_flight_.clear();
  lost_.reset();
  restart_at_ = now + backoff_;
  backoff_ = std::min(backoff_ * 2, options_.backoff_max);
  events_.push_back(GroupFailed{absl::UnavailableError(sentence), final_});
  for (auto& [id, connection] : connections_) {
    connection.closing = true;
    connection.peer->close();
  }
  transport_->stop();
}

void WorkerGroup::close_connection(uint64_t id) {
  Connection& connection = connections_.at(id);
  connection.closing = true;
  connection.peer->close();  // gone for good when ConnectionClosed arrives
}

void WorkerGroup::drop_connections() {
  for (auto& [id, connection] : connections_) connection.peer->close();
  connections_.clear();
}

void WorkerGroup::shut_down(Time now) {
  if (stopping_) return;
  stopping_ = true;
  stop_deadline_ = now + options_.shutdown_grace;
  if (state_ == GroupState::kFailed) return;
  for (auto& [id, connection] : connections_) {
    (void)connection.peer->send(static_cast<uint16_t>(protocol::MessageType::kShutdown), {});
  }
}

void WorkerGroup::check_timers(Time now) {
  if (stopping_) return check_stopping(now);
  if (state_ == GroupState::kFailed) return check_restart(now);
  if (state_ != GroupState::kStopped) {
    check_lost(now);
    if (lost_ || state_ == GroupState::kFailed) return;
    check_silence(now);
    check_exit(now);
  }
}

void WorkerGroup::check_lost(Time now) {
  if (!lost_) return;
  if (state_ == GroupState::kStarting || state_ == GroupState::kLoading) {
    const bool told = !transport_->has_processes() || transport_->rank_end() || transport_->poll_exit();
    if (told || now - lost_->at >= kRankEndWait) fail_lost_while_loading(lost_->rank, now);
    return;
  }
  const auto& health = rank_at(lost_->rank).health;
  const bool knows_layer = health && step_in_flight() && health->step >= in_flight_.front().step;
  const bool wait = step_in_flight() && !knows_layer && connections_.size() > 0 &&
                    witness(lost_->rank, lost_->at) < 0 && now - lost_->at < kWitnessWait;
  if (wait) return;
  const int32_t rank = lost_->rank;
  fail(absl::StrCat(describe(rank), " closed its connection ", doing(rank, now)), now);
}

void WorkerGroup::fail_lost_while_loading(int32_t rank, Time now) {
  std::string how = "closed its connection";
  std::string more;
  const auto end = transport_->rank_end();
  const auto exit = transport_->has_processes() ? transport_->poll_exit() : std::nullopt;
  if (end && end->rank == rank) {
    how = end->how;
  } else if (end) {
    // The launcher ended the others when the first one was gone.
    more = absl::StrCat("; rank ", end->rank, end->host.empty() ? "" : " (host " + end->host + ")",
                        " ", end->how);
  } else if (exit) {
    more = absl::StrCat("; ", *exit);
  }
  fail(absl::StrCat(describe(rank), " ", how, " ", doing(rank, now), more), now);
}

// The processes ended, and no connection had told of it.
std::string WorkerGroup::exit_text(const std::string& exit, Time now) const {
  const auto end = transport_->rank_end();
  if (!end || end->rank < 0 || end->rank >= options_.ranks) {
    const std::string words = transport_->last_words();
    return absl::StrCat("the worker processes of group ", options_.group, " ended while ",
                        group_state_name(state_), ": ", exit,
                        words.empty() ? "" : "; it said: " + words);
  }
  if (rank_at(end->rank).connection != 0)
    return absl::StrCat(describe(end->rank), " ", end->how, " ", doing(end->rank, now));
  return absl::StrFormat("rank %d (host %s) %s while the group was starting, before it had joined, "
                         "%.2f s after the start (%s)",
                         end->rank, end->host.empty() ? "unknown" : end->host, end->how,
                         seconds_between(state_since_, now), exit);
}

void WorkerGroup::check_silence(Time now) {
  for (auto& [id, connection] : connections_) {
    if (connection.rank < 0 && !connection.closing && now - connection.since > kJoinFrameTimeout)
      close_connection(id);
  }
  if (state_ == GroupState::kStarting && now - state_since_ > options_.join_timeout) {
    std::vector<int32_t> missing;
    for (int32_t rank = 0; rank < options_.ranks; ++rank) {
      if (rank_at(rank).connection == 0) missing.push_back(rank);
    }
    const std::string reason = last_refusal_.empty() ? "" : absl::StrCat("; ", last_refusal_);
    return fail(
        absl::StrFormat("rank %s of %d did not join within %.1f s%s", absl::StrJoin(missing, ", "),
                        options_.ranks, seconds(options_.join_timeout), reason),
        now);
  }
  for (int32_t r = 0; r < options_.ranks; ++r) {
    const Rank& rank = rank_at(r);
    const double silent = seconds_between(rank.heard, now);
    const double unmoved = seconds_between(rank.load_at, now);
    if (state_ == GroupState::kLoading && !rank.ready && unmoved > seconds(options_.load_timeout)) {
      return fail(absl::StrFormat("%s has got no further with loading the model for %.1f s",
                                  describe(r), unmoved),
                  now);
    }
    // Loading fills the machine's cores and disks, so heartbeats may be late then.
    if (state_ == GroupState::kLoading && rank.health &&
        silent > kLoadingPatience * seconds(options_.heartbeat_timeout)) {
      return fail(absl::StrFormat("%s has sent no heartbeat for %.1f s while loading the model",
                                  describe(r), silent),
                  now);
    }
    if (state_ == GroupState::kReady && silent > seconds(options_.heartbeat_timeout)) {
      return fail(absl::StrFormat("%s has sent no heartbeat for %.1f s; last seen %s", describe(r),
                                  silent, doing(r, now)),
                  now);
    }
  }
  if (step_in_flight() && now >= step_deadline()) {
    const int32_t r = slowest_rank(now);
    fail(absl::StrFormat("step %d took longer than its deadline (%.1f s so far): %s is %s",
                         in_flight_.front().step, seconds_between(step_began_, now), describe(r),
                         doing(r, now)),
         now);
  }
}

void WorkerGroup::check_exit(Time now) {
  const auto exit = transport_->poll_exit();
  if (exit) return fail(exit_text(*exit, now), now);
  // A launcher that hangs while it ends the others has said enough.
  const bool coming_up = state_ == GroupState::kStarting || state_ == GroupState::kLoading;
  if (coming_up && transport_->rank_end())
    fail(exit_text("its launcher still runs", now), now);
}

void WorkerGroup::check_restart(Time now) {
  if (final_ || now < restart_at_ || !transport_->poll_exit()) return;
  ++restarts_;
  log_info("restarting the worker group",
           {{"group", absl::StrCat(options_.group)}, {"restarts", absl::StrCat(restarts_)}});
  begin_incarnation(now);
}

void WorkerGroup::check_stopping(Time now) {
  if (state_ == GroupState::kStopped) return;
  const bool left =
      connections_.empty() && (!transport_->has_processes() || transport_->poll_exit());
  if (!stop_sent_ && (left || now >= stop_deadline_)) {
    stop_sent_ = true;
    transport_->stop();
  }
  const bool gone = stop_sent_ && transport_->poll_exit().has_value();
  if (!gone && now < stop_deadline_ + kStopTimeout) return;
  state_ = GroupState::kStopped;
  state_since_ = now;
  drop_connections();
}

WorkerGroup::Time WorkerGroup::next_wake(Time now) const {
  if (final_ && !stopping_) return now + kJoinFrameTimeout;
  if (state_ != GroupState::kReady || stopping_) return now + kPollPeriod;
  if (lost_) return now + kPollPeriod;
  Time wake = step_in_flight() ? step_deadline() : now + options_.heartbeat_timeout;
  for (const Rank& rank : ranks_)
    wake = std::min(wake, rank.heard + options_.heartbeat_timeout + milliseconds(1));
  return std::max(wake, now);
}

}  // namespace conclave::coordinator
