#include "coordinator/engine/engine_impl.h"
#include "coordinator/engine/readiness.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"

namespace conclave::coordinator {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPublishPeriod{100};
// The rows of a step keep half their weight in remote_fraction for 693 steps.
constexpr double kRemoteDecay = 0.999;
constexpr int32_t kMaxReplays =
    3;  // a request that ends its group each time must not do so for ever

double seconds_between(SteadyClock::time_point from, SteadyClock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

GroupOptions group_options(const EngineOptions& options) {
  GroupOptions group;
  group.group = options.group;
  group.ranks = options.ranks;
  group.configure = options.configure;
  // Rows that follow their experts may all meet on one rank.
  group.configure.max_step_tokens = options.configure.plan == "fixed" ? options.max_rank_step_tokens
                                                                      : options.max_step_tokens;
  group.configure.max_model_len = options.max_model_len;
  group.threads = {options.threads_per_rank, options.pin_threads};
  group.step_margin = milliseconds(options.step_deadline_margin_ms);
  group.heartbeat_timeout = milliseconds(options.heartbeat_timeout_ms);
  group.join_timeout = milliseconds(options.join_timeout_ms);
  group.load_timeout = milliseconds(options.load_timeout_ms);
  group.restart = options.restart;
  group.backoff = milliseconds(options.restart_backoff_ms);
  group.backoff_max = milliseconds(options.restart_backoff_max_ms);
  group.start_attempts = options.start_attempts;
  return group;
}

GenerationEnd failed_end(absl::Status why) {
  GenerationEnd end;
  end.reason = FinishReason::kError;
  end.error = std::move(why);
  return end;
}

}  // namespace

EngineImpl::EngineImpl(EngineOptions options, placement::PlacementTable table,
                       std::unique_ptr<GroupTransport> transport)
    : options_(std::move(options)),
      observer_(options_.observer != nullptr ? options_.observer : &no_observer_),
      published_rollout_(table),
      group_(group_options(options_), std::move(transport), [this] { ring(); }),
      rollout_(std::move(table)) {
  status_.max_model_len = options_.max_model_len;
  status_.compute = compute_type_name(options_.configure.compute);
  status_.transport = options_.transport;
  status_.placement_epoch = rollout_.table().epoch();
  // Somebody may ask before the engine's thread has said anything.
  state_since_ = unix_time();
  status_.ranks.resize(static_cast<size_t>(options_.ranks));
  for (int32_t rank = 0; rank < options_.ranks; ++rank)
    status_.ranks[static_cast<size_t>(rank)].rank = rank;
}

EngineImpl::~EngineImpl() {
  {
    const std::lock_guard lock(mutex_);
    draining_ = true;
    mail_.stop = true;
  }
  ring();
  if (thread_.joinable()) thread_.join();
}

void EngineImpl::start() {
  thread_ = std::thread([this] { run(); });
}

void EngineImpl::ring() {
  const std::lock_guard lock(mutex_);
  rung_ = true;
  bell_.notify_one();
}

void EngineImpl::run() {
  Time now = SteadyClock::now();
  idle_since_ = now;
  group_.start(now);
  bool stopping = false;
  while (!stopping || group_.state() != GroupState::kStopped) {
    Mail mail = wait_for_mail(next_wake(now));
    now = SteadyClock::now();
    const bool stop = mail.stop;
    handle_mail(std::move(mail), now);
    for (GroupEvent& event : group_.poll(now)) handle_group_event(std::move(event), now);
    if (check_ != nullptr && check_->done()) finish_check(now);
    if (stop && !stopping) {
      stopping = true;
      scheduler_.reset();
      check_.reset();
      end_all(absl::UnavailableError("the server is shutting down"), /*keep_replayable=*/false);
      group_.shut_down(now);
    }
    pump(now);
    publish(now, /*force=*/false);
  }
  publish(now, /*force=*/true);
}

EngineImpl::Mail EngineImpl::wait_for_mail(Time until) {
  std::unique_lock lock(mutex_);
  bell_.wait_until(lock, until, [this] { return rung_; });
  rung_ = false;
  in_transit_ = mail_.submissions.size();
  return std::exchange(mail_, {});
}

EngineImpl::Time EngineImpl::next_wake(Time now) const {
  Time wake = group_.next_wake(now);
  if (clients_due_) wake = std::min(wake, clients_published_at_ + kPublishPeriod);
  if (scheduler_ != nullptr && !group_.step_in_flight() && !group_.asleep()) {
    wake = std::min(wake, idle_since_ + milliseconds(options_.idle_sleep_ms));
  }
  return wake;
}

void EngineImpl::handle_mail(Mail mail, Time now) {
  for (Submission& submission : mail.submissions) {
    clients_[submission.id] = {std::move(submission.listener), submission.queued,
                               submission.queued};
    admit(journal_.open(submission.id, std::move(submission.request)));
  }
  for (const RequestsQuery& query : mail.queries) query->set_value(request_statuses(now));
  if (mail.placement) {
    // It was checked when it was asked for; what changed since (a group that failed) shows in placement().
    const absl::Status status = rollout_.begin(*mail.placement);
    if (!status.ok()) log_warning(std::string(status.message()));
    if (status.ok()) begin_replacement(*mail.placement, now);
    publish_placement();
  }
  for (const SequenceId id : mail.cancellations) {
    if (journal_.find(id) == nullptr) continue;  // ended by itself
    if (scheduler_ != nullptr) scheduler_->cancel(id);
    GenerationEnd cancelled;
    cancelled.reason = FinishReason::kCancelled;
    end(id, std::move(cancelled), now);
  }
  if (!mail.end_requests) return;
  if (scheduler_ != nullptr) {
    for (const auto& [id, entry] : journal_.entries()) scheduler_->cancel(id);
  }
  end_all(*mail.end_requests, /*keep_replayable=*/false);
}

// Into the scheduler, or, between two groups, nowhere: then it waits in the journal or ends at
// once.
void EngineImpl::admit(JournalEntry* entry) {
  absl::Status status;
  if (scheduler_ != nullptr && (check_ == nullptr || entry->request.probe)) {
    status = scheduler_->admit(entry);
  } else if (!options_.replay_on_failure || group_gone_) {
    status = absl::UnavailableError("the worker group failed; try again in a moment");
  }
  if (!status.ok()) end(entry->id, failed_end(std::move(status)), SteadyClock::now());
}

void EngineImpl::handle_group_event(GroupEvent event, Time now) {
  if (auto* result = std::get_if<GroupResult>(&event)) {
    handle_result(std::move(*result), now);
  } else if (auto* ready = std::get_if<GroupReady>(&event)) {
    handle_ready(*ready, now);
  } else if (auto* prepared = std::get_if<GroupPrepared>(&event)) {
    rollout_.prepared(prepared->rank, prepared->answer);
    if (!rollout_.failure().empty()) {
      log_warning(rollout_.failure());
      end_replacement("failed", now);
    }
    publish_placement();
  } else {
    handle_failure(std::get<GroupFailed>(event), now);
  }
}

void EngineImpl::handle_ready(const GroupReady& ready, Time now) {
  const std::string& model = ready.ranks.front().model_fingerprint;
  if (!model_.empty() && model != model_) {
    // Its name, its tokenizer and the texts that wait are of the first one. The files may come back.
    return group_.fail(
        absl::StrCat("the ranks loaded another model (", model, ") than the one that this "
                     "coordinator serves (", model_, "): its files have changed; put them back as "
                     "they were, or start the coordinator again to serve what they are now"),
        now);
  }
  model_ = model;
  SchedulerOptions scheduler;
  for (const protocol::Ready& rank : ready.ranks) scheduler.kv_blocks.push_back(rank.kv_blocks);
  scheduler.eos_ids = options_.eos_ids;
  scheduler.max_model_len = options_.max_model_len;
  scheduler.vocab = options_.vocab;
  scheduler.max_running = options_.max_running;
  scheduler.max_step_tokens = options_.max_step_tokens;
  scheduler.max_rank_step_tokens = options_.max_rank_step_tokens;
  scheduler.prefix_cache = options_.prefix_cache;
  scheduler.coherent = choose_coherent(ready);
  scheduler.match_homes = options_.match_homes && !options_.moe_layers.empty();
  {
    const std::lock_guard lock(mutex_);
    status_.plan = scheduler.coherent ? "coherent" : "fixed";
  }
  scheduler.step_deadline_ms = options_.step_deadline_ms;
  scheduler.force_preempt_seed = options_.force_preempt_seed;
  scheduler.pipeline = options_.pipeline.value_or(ready.kernel_set.starts_with("cuda"));
  scheduler_ = std::make_unique<Scheduler>(std::move(scheduler));
  ready_ = ready.ranks;
  kernel_set_ = ready.kernel_set;
  idle_since_ = now;
  control_step_ = false;
  rollout_.group_ready(ready_.front().expert_slots, ready_.front().spare_expert_slots);
  publish_placement();
  if (scheduler_->max_model_len() < options_.max_model_len) {
    log_warning("the K/V memory holds less than one request of the model's length",
                {{"max_model_len", absl::StrCat(options_.max_model_len)},
                 {"now", absl::StrCat(scheduler_->max_model_len())}});
  }
  const std::string fingerprint = absl::StrCat(ready_.front().model_fingerprint, "/", kernel_set_);
  if (!fingerprint_.empty() && fingerprint != fingerprint_) {
    // Other bits would continue the text (law 1): better no continuation.
    end_all(absl::UnavailableError("the worker group came back with another kernel set"), false);
  }
  fingerprint_ = fingerprint;
  begin_check(now);
}

bool EngineImpl::choose_coherent(const GroupReady& ready) const {
  if (ready.ranks.size() < 2 || options_.moe_layers.empty()) return false;
  if (options_.configure.plan != "auto") return options_.configure.plan == "coherent";
  PlanCosts costs = options_.plan_costs;
  costs.ranks = options_.ranks;
  for (const protocol::Ready& rank : ready.ranks) {
    // The slowest figures: an exchange waits for all.
    costs.exchange_seconds = std::max(costs.exchange_seconds, rank.exchange_latency_seconds);
    if (rank.exchange_bytes_per_second <= 0) return false;  // a model that runs fixed only
    costs.bytes_per_second = costs.bytes_per_second > 0
                                 ? std::min(costs.bytes_per_second, rank.exchange_bytes_per_second)
                                 : rank.exchange_bytes_per_second;
  }
  if (options_.recorded_traffic) costs.recorded = options_.recorded_traffic(rollout_.table());
  const bool coherent = coherent_pays(costs);
  log_info("chose the parallel plan",
           {{"plan", coherent ? "coherent" : "fixed"},
            {"routing", costs.recorded ? "profile" : "uniform"},
            {"exchange_us", absl::StrCat(1e6 * costs.exchange_seconds)},
            {"bytes_per_second", absl::StrCat(costs.bytes_per_second)},
            {"fixed_step_us", absl::StrCat(1e6 * fixed_plan_seconds(costs))},
            {"coherent_step_us", absl::StrCat(1e6 * coherent_plan_seconds(costs))}});
  return coherent;
}

void EngineImpl::handle_failure(const GroupFailed& failed, Time now) {
  scheduler_.reset();
  end_check(absl::UnavailableError("the worker group failed"));
  rollout_.group_failed();
  end_replacement("failed", now);
  publish_placement();
  publish(now, /*force=*/true);  // nobody shall hear of it before status() knows
  group_gone_ = failed.final;
  const std::string why =
      absl::StrCat("the worker group failed: ", std::string(failed.why.message()));
  end_all(absl::UnavailableError(why), options_.replay_on_failure && !failed.final);
}

void EngineImpl::end_all(const absl::Status& why, bool keep_replayable) {
  std::vector<SequenceId> lost;
  for (auto& [id, entry] : journal_.entries()) {
    if (!keep_replayable || ++entry.replays > kMaxReplays) lost.push_back(id);
  }
  for (const SequenceId id : lost) end(id, failed_end(why), SteadyClock::now());
}

void EngineImpl::handle_result(GroupResult result, Time now) {
  if (scheduler_ == nullptr) return;
  step_observer().step_finished(result.seconds, result.result.ranks);
  if (check_ != nullptr) result.result.routing.clear();
  if (check_ == nullptr) {
    keep_trace(result, now);
    count_remote_rows(result.result.ranks);
  }
  finish_step_of_rollout(result);
  if (const auto plan = std::exchange(recorded_plan_, std::nullopt)) {
    options_.recorder->step_ran(*plan, result.result.rows, rollout_.table());
  }
  if (!result.result.routing.empty()) observer_->routing_reported(result.result.routing);
  if (!result.result.routing.empty() && options_.on_routing) {
    options_.on_routing(std::move(result.result.routing));
  }
  if (std::exchange(control_step_, false)) {
    idle_since_ = now;
    return;
  }
  auto events = scheduler_->apply(std::move(result.result));
  if (!events.ok()) return group_.fail(std::string(events.status().message()), now);
  int64_t generated = 0;
  for (SequenceEvent& event : *events) {
    if (std::holds_alternative<GeneratedToken>(event.what)) {
      generated += journal_.find(event.id)->request.probe ? 0 : 1;
    }
    deliver(std::move(event), now);
  }
  step_observer().tokens_computed(0, generated);
  idle_since_ = now;
}

void EngineImpl::deliver(SequenceEvent event, Time now) {
  if (auto* finished = std::get_if<GenerationEnd>(&event.what))
    return end(event.id, std::move(*finished), now);
  Client& client = clients_.at(event.id);
  if (auto* part = std::get_if<PromptPart>(&event.what))
    return client.listener->on_prompt(std::move(*part));
  const JournalEntry& entry = *journal_.find(event.id);
  EngineObserver& observer = observer_of(entry.request.probe);
  if (entry.emitted.size() == 1) {
    observer.first_token(seconds_between(client.queued, now));
  } else {
    observer.next_token(seconds_between(client.last_token, now));
  }
  client.last_token = now;
  if (!entry.request.client.empty()) ++client_tokens_[entry.request.client].generated;
  client.listener->on_token(std::get<GeneratedToken>(std::move(event.what)));
}

void EngineImpl::end(SequenceId id, GenerationEnd end, Time now) {
  const auto client = clients_.extract(id);
  const JournalEntry& entry = *journal_.find(id);
  end.cached_prompt_tokens = std::max(0, entry.cached_prompt_tokens);
  observer_of(entry.request.probe)
      .request_finished(end.reason, seconds_between(client.mapped().queued, now),
                        static_cast<int32_t>(entry.request.prompt.size()),
                        static_cast<int32_t>(entry.emitted.size()));
  if (end.reason == FinishReason::kError) {
    observer_of(entry.request.probe).request_failed(entry.request.request_id, end.error);
  }
  log_end(entry, end);
  const std::string name = entry.request.client;
  journal_.close(id);
  client.mapped().listener->on_end(std::move(end));
  const std::lock_guard lock(mutex_);
  open_.closed(name);
}

void EngineImpl::pump(Time now) {
  if (scheduler_ == nullptr || group_.state() != GroupState::kReady) return;
  if (!group_.step_in_flight()) plan_next(now);
  if (group_.step_in_flight()) plan_ahead(now);
}

// While a step runs, the next one is on its way already where that needs none of its tokens.
void EngineImpl::plan_ahead(Time now) {
  if (control_step_ || recorded_plan_ || !rollout_.may_plan_ahead()) return;
  if (auto step = scheduler_->plan_ahead(next_step_)) send_scheduled(*std::move(step), now);
}

void EngineImpl::send_scheduled(ScheduledStep step, Time now) {
  ++next_step_;
  observe_plan(step, now);
  send(std::move(step.plan), now);
}

void EngineImpl::plan_next(Time now) {
  if (auto step = scheduler_->plan(next_step_)) {
    send_scheduled(*std::move(step), now);
  } else if (rollout_.has_news()) {
    protocol::StepPlan plan;
    plan.step = next_step_++;
    plan.deadline_ms = options_.step_deadline_ms;
    control_step_ = true;
    send(std::move(plan), now);
  } else if (!group_.asleep() && now >= idle_since_ + milliseconds(options_.idle_sleep_ms)) {
    group_.send_sleep(next_step_++, now);
  }
}

void EngineImpl::send(protocol::StepPlan plan, Time now) {
  rollout_.annotate(&plan);
  if (check_ == nullptr) mark_plan(&plan);
  if (check_ != nullptr && options_.routing_report_ms > 0) {
    plan.report_routing = true;  // and then forgotten: the check's rows are no traffic
  } else if (options_.routing_report_ms > 0 &&
      now - routing_reported_at_ >= milliseconds(options_.routing_report_ms)) {
    plan.report_routing = true;
    routing_reported_at_ = now;
  }
  recorded_plan_.reset();
  if (check_ == nullptr && options_.recorder != nullptr && options_.recorder->wants_steps()) {
    plan.record_routing = true;
    recorded_plan_ = plan;
  }
  group_.send_plan(plan, now);
}

void EngineImpl::finish_step_of_rollout(const GroupResult& result) {
  if (!rollout_.step_finished()) return;
  double pause = 0;
  for (const protocol::RankTiming& rank : result.result.ranks) {
    pause = std::max(pause, rank.switch_seconds);
  }
  group_.set_placement(rollout_.table().to_json());
  if (scheduler_ != nullptr) scheduler_->forget_rank_hits();
  observer_->placement_switched(rollout_.table().epoch(), pause);
  if (replacement_) replacement_->pause_seconds += pause;
  if (!rollout_.under_way()) end_replacement("applied", SteadyClock::now());
  {
    const std::lock_guard lock(mutex_);
    last_pause_seconds_ = pause;
  }
  publish_placement();
}

void EngineImpl::count_remote_rows(const std::vector<protocol::RankTiming>& ranks) {
  double row_bytes = 0, returned_bytes = 0, rows = 0;
  for (const protocol::RankTiming& rank : ranks) {
    for (const int64_t layer : rank.expert_rows) rows += static_cast<double>(layer);
    for (const protocol::Traffic& traffic : rank.traffic) {
      const auto bytes = static_cast<double>(traffic.bytes);
      if (traffic.direction == protocol::TrafficDirection::kReturn) returned_bytes += bytes;
      if (traffic.direction == protocol::TrafficDirection::kDispatch && traffic.messages > 0) {
        row_bytes = bytes / static_cast<double>(traffic.messages);
      }
    }
  }
  if (rows == 0) return;
  const std::lock_guard lock(mutex_);
  remote_rows_ = kRemoteDecay * remote_rows_ + (row_bytes > 0 ? returned_bytes / row_bytes : 0);
  expert_rows_ = kRemoteDecay * expert_rows_ + rows;
}

void EngineImpl::publish_placement() {
  const std::lock_guard lock(mutex_);
  published_rollout_ = rollout_;
  status_.placement_epoch = rollout_.table().epoch();
  if (ready_.empty()) return;
  expert_slot_bytes_ = ready_.front().expert_slot_bytes;
  expert_slots_ = ready_.front().expert_slots;
}

void EngineImpl::observe_plan(const ScheduledStep& step, Time now) {
  for (const ScheduledStep::Admission& admission : step.admissions) {
    const GenerationRequest& request = journal_.find(admission.id)->request;
    EngineObserver& observer = observer_of(request.probe);
    if (admission.tokens > 0) observer.prefix_lookup(admission.tokens, admission.cached_tokens);
    if (!admission.first) continue;
    observer.request_scheduled(seconds_between(clients_.at(admission.id).queued, now),
                               static_cast<int32_t>(request.prompt.size()),
                               admission.cached_tokens);
    if (!request.client.empty())
      client_tokens_[request.client].prompt += static_cast<int64_t>(request.prompt.size());
  }
  for (int32_t i = 0; i < step.preemptions; ++i) step_observer().request_preempted();
  if (step.prompt_rows > 0) step_observer().tokens_computed(step.prompt_rows, 0);
}

void EngineImpl::publish_clients() {
  std::map<std::string, EngineObserver::ClientLoad> loads;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [name, client] : open_.clients()) {
      if (!name.empty()) loads[name].waiting = client.open;
    }
  }
  if (scheduler_ != nullptr) {
    for (const ClientLoad& client : scheduler_->client_loads()) {
      if (client.name.empty()) continue;
      EngineObserver::ClientLoad& load = loads[client.name];
      load.running = client.running;
      load.waiting = std::max<int64_t>(load.waiting - client.running, 0);
    }
  }
  for (const auto& [name, tokens] : std::exchange(client_tokens_, {})) {
    loads[name].prompt_tokens = tokens.prompt;
    loads[name].generated_tokens = tokens.generated;
  }
  if (loads.empty() && !clients_shown_) return;
  clients_shown_ = !loads.empty();
  observer_->clients(loads);
}

// The counters every time, the ranks' words now and then: they are read by people.
void EngineImpl::publish(Time now, bool force) {
  int32_t used = 0, blocks = 0;
  std::vector<int32_t> used_of_rank;
  for (int32_t rank = 0; scheduler_ != nullptr && rank < scheduler_->ranks(); ++rank) {
    used_of_rank.push_back(scheduler_->ledger(rank).used());
    used += used_of_rank.back();
    blocks += scheduler_->ledger(rank).blocks();
  }
  const bool checking = check_ != nullptr && group_.state() == GroupState::kReady;
  const GroupState state = checking ? GroupState::kLoading : group_.state();
  const bool changed = force || state != published_state_;
  const int64_t restarts = group_.restarts();
  {
    const std::lock_guard lock(mutex_);
    in_transit_ = 0;
    if (status_.state != state) state_since_ = unix_time();
    status_.state = state;
    status_.checking = checking;
    status_.warning = check_warning_;
    status_.start_failure = group_.start_failure();
    status_.start_attempts = group_.start_attempts();
    status_.restarts = restarts;
    status_.running = scheduler_ != nullptr ? scheduler_->running() : 0;
    status_.waiting = scheduler_ != nullptr ? scheduler_->waiting()
                                            : static_cast<int32_t>(journal_.entries().size());
    status_.kv_blocks = blocks;
    status_.kv_blocks_used = used;
    if (scheduler_ != nullptr) status_.max_model_len = scheduler_->max_model_len();
    if (changed || now - published_at_ >= kPublishPeriod) {
      published_at_ = now;
      status_.last_failure = group_.last_failure();
      status_.ranks = group_.rank_status(now);
      for (size_t rank = 0; rank < used_of_rank.size(); ++rank)
        status_.ranks[rank].kv_blocks_used = used_of_rank[rank];
      status_.kernel_set = kernel_set_;
      status_.model_fingerprint = ready_.empty() ? "" : ready_.front().model_fingerprint;
    }
  }
  observer_->load(status_.running, status_.waiting, used, blocks);
  // All clients cost more than a few counters; an idle engine may not look again soon.
  const bool idle = scheduler_ == nullptr || !scheduler_->has_work();
  clients_due_ = !force && !idle && now - clients_published_at_ < kPublishPeriod;
  if (!clients_due_) {
    clients_published_at_ = now;
    publish_clients();
  }
  if (changed) observer_->group_state(state);
  for (; published_restarts_ < restarts; ++published_restarts_) observer_->group_restarted();
  published_state_ = state;
}

}  // namespace conclave::coordinator
