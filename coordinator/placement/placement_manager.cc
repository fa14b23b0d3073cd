#include "coordinator/placement/placement_manager.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "coordinator/engine/placement_rollout.h"
#include "coordinator/placement/profile_traffic.h"

namespace conclave::coordinator {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMaxPlans = 16;
constexpr double kUnknownPauseSeconds = 50e-6;  // of one switch, before one was measured

bool same_assignment(const placement::PlacementTable& a, const placement::PlacementTable& b) {
  return arriving_experts(a, b) == 0 && arriving_experts(b, a) == 0;
}

// Slots that the fullest rank uses beyond an equal share.
int32_t replicas_of(const placement::PlacementTable& table) {
  return std::max(0,
                  table.slots_per_rank() - (table.experts() + table.ranks() - 1) / table.ranks());
}

}  // namespace

absl::StatusOr<std::unique_ptr<PlacementManager>> PlacementManager::create(Options options) {
  ASSIGN_OR_RETURN(ProfileWindow window, ProfileWindow::create(options.window, Clock::now()));
  return std::unique_ptr<PlacementManager>(
      new PlacementManager(std::move(options), std::move(window)));
}

PlacementManager::PlacementManager(Options options, ProfileWindow window)
    : options_(std::move(options)), window_(std::move(window)) {}

PlacementManager::~PlacementManager() { stop(); }

void PlacementManager::attach(Engine* engine) {
  engine_ = engine;
  thread_ = std::thread([this] { run(); });
}

void PlacementManager::stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  if (!thread_.joinable()) return;
  thread_.join();
  save_state(/*with_profile=*/true);
}

void PlacementManager::stop_saving() {
  const std::lock_guard lock(mutex_);
  saving_ = false;
}

void PlacementManager::add_routing(std::vector<protocol::RoutingCounts> counts) {
  const std::lock_guard lock(mutex_);
  if (!profiling_ || stop_) return;
  std::move(counts.begin(), counts.end(), std::back_inserter(arrived_));
  changed_.notify_one();
}

void PlacementManager::run_later(std::function<void()> task) {
  const std::lock_guard lock(mutex_);
  tasks_.push_back(std::move(task));
  changed_.notify_one();
}

void PlacementManager::run() {
  auto next_check = Clock::now() + options_.automatic.period;
  auto next_table_save = Clock::now() + options_.table_save_period;
  auto next_profile_save = Clock::now() + options_.profile_save_period;
  std::unique_lock lock(mutex_);
  while (!stop_) {
    changed_.wait_until(lock, std::min(next_check, next_table_save),
                        [this] { return stop_ || !tasks_.empty() || !arrived_.empty(); });
    for (const protocol::RoutingCounts& counts : std::exchange(arrived_, {})) {
      const absl::Status status = window_.add(counts, Clock::now());
      if (!status.ok()) log_warning(std::string(status.message()));
    }
    if (!tasks_.empty()) {
      const std::function<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      lock.lock();
    }
    if (const auto now = Clock::now(); now >= next_table_save) {
      next_table_save = now + options_.table_save_period;
      const bool with_profile = now >= next_profile_save;
      if (with_profile) next_profile_save = now + options_.profile_save_period;
      lock.unlock();
      save_state(with_profile);
      lock.lock();
    }
    if (Clock::now() < next_check) continue;
    next_check = Clock::now() + options_.automatic.period;
    if (!options_.automatic.on) continue;
    lock.unlock();
    consider_replan();
    lock.lock();
  }
}

void PlacementManager::save_state(bool with_profile) {
  {
    const std::lock_guard lock(mutex_);
    if (options_.store == nullptr || !saving_) return;
  }
  // A group that was never ready has not shown which model it runs.
  const std::string fingerprint = engine_->status().model_fingerprint;
  const PlacementStatus status = engine_->placement();
  if (fingerprint.empty() || status.table == nullptr) return;
  placement::PlacementTable table = *status.table;
  table.set_model_fingerprint(fingerprint);
  absl::Status saved = options_.store->save_table(table);
  if (saved.ok() && with_profile) saved = options_.store->save_profile(profile());
  if (!saved.ok()) {
    log_warning("placement and routing profile were not saved for the next start",
                {{"why", std::string(saved.message())}});
  }
}

placement::RoutingProfile PlacementManager::profile() const {
  const std::string fingerprint = engine_->status().model_fingerprint;
  const std::lock_guard lock(mutex_);
  placement::RoutingProfile profile = window_.snapshot();
  profile.set_model_fingerprint(fingerprint);
  return profile;
}

void PlacementManager::set_profiling(bool on) {
  const std::lock_guard lock(mutex_);
  if (on && !profiling_) window_.clear(Clock::now());
  profiling_ = on;
}

absl::Status PlacementManager::load_profile(const placement::RoutingProfile& profile) {
  const std::string fingerprint =
      engine_ != nullptr ? engine_->status().model_fingerprint : std::string();
  const std::string& theirs = profile.model_fingerprint();
  if (!theirs.empty() && !fingerprint.empty() && theirs != fingerprint) {
    return absl::InvalidArgumentError(absl::StrCat("the profile was made by model ", theirs,
                                                   ", this is model ", fingerprint,
                                                   "; make a profile with this model"));
  }
  const std::lock_guard lock(mutex_);
  return window_.replace(profile, Clock::now());
}

std::optional<RecordedTraffic> PlacementManager::recorded_traffic(
    const placement::PlacementTable& table) const {
  std::unique_lock lock(mutex_);
  if (window_.profile().empty()) return std::nullopt;
  const placement::RoutingProfile profile = window_.snapshot();
  lock.unlock();
  return traffic_of_profile(profile, table);
}

placement::Plan PlacementManager::parallel_plan() const {
  return engine_->status().plan == "coherent" ? placement::Plan::kCoherent
                                              : placement::Plan::kFixed;
}

bool PlacementManager::profiling() const {
  const std::lock_guard lock(mutex_);
  return profiling_;
}

PlacementView PlacementManager::view() const {
  PlacementView view;
  view.status = engine_->placement();
  view.automatic = options_.automatic.on;
  const std::lock_guard lock(mutex_);
  if (previous_ != nullptr) view.previous_epoch = previous_->epoch();
  if (view.status.table != nullptr) {
    view.balance = rank_balance(window_.profile(), *view.status.table);
  }
  view.profiled_tokens = window_.profile().tokens();
  return view;
}

double PlacementManager::predicted_pause(const PlacementStatus& status,
                                         const placement::PlacementTable& target) const {
  const double one =
      status.last_pause_seconds > 0 ? status.last_pause_seconds : kUnknownPauseSeconds;
  PlacementRollout probe(*status.table);
  probe.group_ready(std::max(status.expert_slots, 1), std::max(status.expert_slots, 1));
  if (!probe.begin(target).ok()) return one;
  return one * static_cast<double>(probe.stages_left());
}

int64_t PlacementManager::default_budget(const placement::PlacementTable& table) const {
  const double experts = static_cast<double>(table.layers()) * table.experts();
  return static_cast<int64_t>(options_.automatic.migration_share * experts);
}

absl::StatusOr<PlannedPlacement> PlacementManager::plan(const PlanRequest& request) {
  const PlacementStatus status = engine_->placement();
  if (status.table == nullptr) {
    return absl::FailedPreconditionError("the model has no routed experts to place");
  }
  const placement::RoutingProfile profile = this->profile();
  if (profile.empty()) {
    return absl::FailedPreconditionError(
        "the routing profile is empty; send requests first, then plan");
  }
  placement::Problem problem;
  problem.profile = &profile;
  problem.cluster.ranks_per_node = status.table->ranks_per_node();
  if (problem.cluster.ranks_per_node.empty())
    problem.cluster.ranks_per_node = {status.table->ranks()};
  problem.objective = request.objective;
  problem.plan = parallel_plan();
  problem.cost = options_.cost;
  problem.max_imbalance = request.max_imbalance;
  problem.replicas = request.replicas.value_or(replicas_of(*status.table));
  problem.start = status.table.get();
  problem.migration_budget = request.migration_budget.value_or(default_budget(*status.table));
  problem.solver = request.solver;
  problem.time_limit_s = request.time_limit_seconds;
  problem.cancelled = [this] {
    const std::lock_guard lock(mutex_);
    return stop_;
  };
  PlannedPlacement planned;
  planned.migration_budget = problem.migration_budget;
  planned.replicas = problem.replicas;
  ASSIGN_OR_RETURN(planned.solution, options_.solve(problem));
  planned.solution.table.set_model_fingerprint(engine_->status().model_fingerprint);
  planned.solution.moved_experts = arriving_experts(*status.table, planned.solution.table);
  planned.bytes_to_move =
      static_cast<uint64_t>(planned.solution.moved_experts) * status.expert_slot_bytes;
  planned.predicted_pause_seconds = predicted_pause(status, planned.solution.table);
  const std::lock_guard lock(mutex_);
  planned.id = absl::StrCat("plan-", next_plan_++);
  while (plans_.size() >= kMaxPlans) plans_.pop_front();
  plans_.emplace_back(planned.id, planned.solution.table);
  return planned;
}

absl::StatusOr<AppliedPlacement> PlacementManager::apply_plan(const std::string& id, bool dry_run) {
  std::optional<placement::PlacementTable> table;
  {
    const std::lock_guard lock(mutex_);
    const auto found = std::find_if(plans_.begin(), plans_.end(),
                                    [&id](const auto& plan) { return plan.first == id; });
    if (found != plans_.end()) table = found->second;
  }
  if (!table) {
    return absl::NotFoundError(absl::StrCat(
        "there is no plan \"", id, "\"; make one first (the last ", kMaxPlans, " are kept)"));
  }
  return apply(*table, dry_run);
}

absl::StatusOr<AppliedPlacement> PlacementManager::apply(const placement::PlacementTable& table,
                                                         bool dry_run) {
  const PlacementStatus before = engine_->placement();
  if (before.table == nullptr) {
    return absl::FailedPreconditionError("the model has no routed experts to place");
  }
  RETURN_IF_ERROR(table.check_fits(before.table->moe_layers(), before.table->experts(),
                                   before.table->ranks(), engine_->status().model_fingerprint));
  AppliedPlacement applied;
  applied.moved_experts = arriving_experts(*before.table, table);
  applied.bytes_to_move = static_cast<uint64_t>(applied.moved_experts) * before.expert_slot_bytes;
  applied.predicted_pause_seconds = predicted_pause(before, table);
  applied.epoch = before.table->epoch();
  applied.state = same_assignment(*before.table, table) ? "unchanged" : "dry_run";
  if (dry_run || applied.state == "unchanged") return applied;
  RETURN_IF_ERROR(engine_->apply_placement(table));
  applied.state = "applying";
  applied.epoch = engine_->placement().target_epoch;
  const placement::RoutingProfile profile = this->profile();
  const std::lock_guard lock(mutex_);
  previous_ = before.table;
  applied_at_ = Clock::now();
  crossings_at_plan_ = leader_crossings(profile, table);
  return applied;
}

absl::StatusOr<AppliedPlacement> PlacementManager::rollback(bool dry_run) {
  std::shared_ptr<const placement::PlacementTable> previous;
  {
    const std::lock_guard lock(mutex_);
    previous = previous_;
  }
  if (previous == nullptr) {
    return absl::NotFoundError("no placement was applied, so there is none to return to");
  }
  return apply(*previous, dry_run);
}

bool PlacementManager::drifted(const placement::RoutingProfile& profile,
                               const placement::PlacementTable& table) const {
  if (profile.tokens() < options_.automatic.min_tokens) return false;
  const std::vector<double> balance = rank_balance(profile, table);
  const double worst = *std::max_element(balance.begin(), balance.end());
  const double crossings = leader_crossings(profile, table);
  const std::lock_guard lock(mutex_);
  if (crossings_at_plan_ < 0) return true;
  if (Clock::now() - applied_at_ < options_.automatic.cooldown) return false;
  return worst > options_.automatic.request.max_imbalance * options_.automatic.balance_drift ||
         crossings > crossings_at_plan_ + options_.automatic.crossing_drift;
}

void PlacementManager::consider_replan() {
  const PlacementStatus status = engine_->placement();
  if (status.table == nullptr || status.applying || status.expert_slots == 0) return;
  const placement::RoutingProfile profile = this->profile();
  if (!drifted(profile, *status.table)) return;
  const PlanRequest& request = options_.automatic.request;
  absl::StatusOr<PlannedPlacement> planned = plan(request);
  if (!planned.ok()) {
    return log_warning("no new placement", {{"why", std::string(planned.status().message())}});
  }
  const placement::Solution& solution = planned->solution;
  const double gain =
      solution.objective_before > 0 ? 1 - solution.objective_after / solution.objective_before : 0;
  const std::vector<double> balance = rank_balance(profile, *status.table);
  const bool unbalanced = *std::max_element(balance.begin(), balance.end()) >
                          request.max_imbalance * options_.automatic.balance_drift;
  const std::vector<double> after = rank_balance(profile, solution.table);
  const bool mends = unbalanced && *std::max_element(after.begin(), after.end()) <
                                       *std::max_element(balance.begin(), balance.end());
  const bool worth = gain >= options_.automatic.min_gain || mends;
  if (!worth || solution.moved_experts == 0) {
    const std::lock_guard lock(mutex_);
    crossings_at_plan_ = leader_crossings(profile, *status.table);
    applied_at_ = Clock::now();
    return;
  }
  const absl::StatusOr<AppliedPlacement> applied = apply(solution.table, /*dry_run=*/false);
  if (!applied.ok()) {
    return log_warning("a new placement was not applied",
                       {{"why", std::string(applied.status().message())}});
  }
  log_info("re-placing experts", {{"epoch", absl::StrCat(applied->epoch)},
                                  {"gain", absl::StrCat(gain)},
                                  {"experts", absl::StrCat(applied->moved_experts)}});
}

}  // namespace conclave::coordinator
