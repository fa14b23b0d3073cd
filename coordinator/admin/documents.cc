#include "coordinator/admin/documents.h"

#include <algorithm>
#include <chrono>

#include "base/log.h"
#include "coordinator/engine/readiness.h"

namespace conclave::coordinator {
namespace {

constexpr int64_t kRecentSeconds = 10;
// A few tokens always look uneven; below so many rows in the window nobody shall be alarmed.
constexpr double kRowsForAVerdict = 2000;
constexpr std::chrono::milliseconds kFileSystemPatience{1000};

// 1 for a layer with less than min_rows.
std::vector<double> max_over_mean(const std::vector<std::vector<double>>& rows,
                                  double min_rows = 0) {
  std::vector<double> result;
  for (const std::vector<double>& layer : rows) {
    double sum = 0;
    double most = 0;
    for (const double value : layer) {
      sum += value;
      most = std::max(most, value);
    }
    result.push_back(sum > min_rows ? most * static_cast<double>(layer.size()) / sum : 1);
  }
  return result;
}

std::vector<HealthCheck> checks_of(const AdminParts& parts, const EngineStatus& status) {
  HealthInput input{status,
                    max_over_mean(parts.metrics->rank_load().expert_rows(), kRowsForAVerdict)};
  if (parts.model_folder != nullptr)
    input.model_folder = parts.model_folder->look(kFileSystemPatience);
  return health_checks(input);
}

AdminJson check_json(const HealthCheck& check) {
  return {{"code", check.code},
          {"severity", severity_name(check.severity)},
          {"summary", check.summary},
          {"details", check.details},
          {"advice", check.advice}};
}

AdminJson recent_json(const RecentWindow::Point& point) {
  return {{"prompt_tokens_per_second", point.prompt_tokens},
          {"generated_tokens_per_second", point.generated_tokens},
          {"time_to_first_token_seconds",
           {{"p50", point.first_token_p50}, {"p99", point.first_token_p99}}},
          {"inter_token_latency_seconds",
           {{"p50", point.next_token_p50}, {"p99", point.next_token_p99}}}};
}

AdminJson readiness_json(const EngineStatus& status) {
  const Readiness why = readiness(status);
  return {{"ready", why.ready},
          {"reason", why.reason},
          {"since", utc_text(why.since)},
          {"warning", status.warning}};
}

AdminJson group_json(const EngineStatus& status) {
  return {{"state", group_state_word(status.state)},
          {"restarts", status.restarts},
          {"last_failure", status.last_failure},
          {"kernel_set", status.kernel_set},
          {"compute", status.compute},
          {"transport", status.transport},
          {"model_fingerprint", status.model_fingerprint},
          {"placement_epoch", status.placement_epoch}};
}

double sum_of(const RankTotals::Traffic& traffic) {
  double sum = 0;
  for (const auto& plan : traffic) {
    for (const double direction : plan) sum += direction;
  }
  return sum;
}

AdminJson rank_json(const RankStatus& rank, const RankTotals& totals) {
  return {{"rank", rank.rank},
          {"host", rank.host},
          {"pid", rank.pid},
          {"up", rank.connected},
          {"step", rank.step},
          {"layer", rank.layer},
          {"operation", rank.operation},
          {"operation_age_seconds", rank.operation_age_seconds},
          {"heartbeat_age_seconds", rank.heartbeat_age_seconds},
          {"load_bytes_done", rank.load_bytes_done},
          {"load_bytes_total", rank.load_bytes_total},
          {"load_seconds", rank.load_seconds},
          {"weight_bytes", rank.weight_bytes},
          {"kv_bytes", rank.kv_bytes},
          {"kv_blocks", rank.kv_blocks},
          {"kv_blocks_used", rank.kv_blocks_used},
          {"totals",
           {{"tokens", totals.tokens},
            {"expert_rows", totals.expert_rows},
            {"compute_seconds", totals.compute_seconds},
            {"wait_seconds", totals.wait_seconds},
            {"slowest_steps", totals.slowest_steps},
            {"exchange_seconds", totals.dispatch_seconds + totals.combine_seconds},
            {"exchange_exposed_seconds", totals.exposed_seconds},
            {"exchange_bytes", sum_of(totals.bytes)},
            {"exchange_messages", sum_of(totals.messages)}}}};
}

// [MoE layers][experts]; empty if nothing was reported.
std::vector<std::vector<double>> rows_by_layer(const std::vector<double>& counts,
                                               const model::ModelSpec& spec) {
  std::vector<std::vector<double>> rows;
  if (counts.empty()) return rows;
  const auto experts = static_cast<size_t>(spec.experts);
  for (size_t layer = 0; layer < spec.moe_layers().size(); ++layer) {
    std::vector<double>& row = rows.emplace_back(experts);
    for (size_t expert = 0; expert < experts; ++expert) {
      const size_t index = layer * experts + expert;
      if (index < counts.size()) row[expert] = counts[index];
    }
  }
  return rows;
}

// [experts] -> ranks that hold it; empty for an unknown table.
AdminJson holders_json(const placement::PlacementTable* table, int32_t layer) {
  AdminJson out = AdminJson::array();
  if (table == nullptr || layer >= table->layers()) return out;
  for (int32_t expert = 0; expert < table->experts(); ++expert) {
    const auto holders = table->holders(layer, expert);
    out.push_back(std::vector<int32_t>(holders.begin(), holders.end()));
  }
  return out;
}

// What became of requests since the coordinator started, with the names of the last that failed.
AdminJson ended_json(const Metrics& metrics) {
  AdminJson out = {
      {"finished", metrics.ended(FinishReason::kStop) + metrics.ended(FinishReason::kLength)},
      {"cancelled", metrics.ended(FinishReason::kCancelled)},
      {"failed", metrics.ended(FinishReason::kError)},
      {"last_failed", AdminJson::array()}};
  for (const FailedRequest& failed : metrics.failed_requests().list()) {
    out["last_failed"].push_back(
        {{"number", failed.number}, {"request_id", failed.request_id}, {"why", failed.why}});
  }
  return out;
}

}  // namespace

const char* group_state_word(GroupState state) {
  constexpr const char* kWords[] = {"starting", "loading",  "ready",
                                    "failed",   "draining", "stopped"};
  return kWords[static_cast<size_t>(state)];
}

AdminJson document(const char* kind) { return {{"version", 1}, {"kind", kind}}; }

AdminJson admission_document(const AdminParts& parts) {
  const EngineStatus status = parts.engine->status();
  AdminJson out = document("admission");
  out["open"] = !status.draining;
  out["reason"] = status.cordon_reason;
  out["stopping"] = status.draining && status.cordon_reason.empty();
  out["requests_open"] = status.open;
  out["drained"] = status.draining && status.open == 0;
  out["ended"] = ended_json(*parts.metrics);
  return out;
}

AdminJson status_document(const AdminParts& parts) {
  const EngineStatus status = parts.engine->status();
  const auto checks = checks_of(parts, status);
  const auto up = std::count_if(status.ranks.begin(), status.ranks.end(),
                                [](const RankStatus& rank) { return rank.connected; });
  AdminJson out = document("status");
  out["health"] = severity_name(worst_severity(checks));
  out["checks"] = AdminJson::array();
  for (const HealthCheck& check : checks) out["checks"].push_back(check.code);
  out["software"] = parts.version;
  out["model"] = parts.model_name;
  out["uptime_seconds"] = parts.metrics->now();
  out["group"] = group_json(status);
  out["readiness"] = readiness_json(status);
  out["admission"] = {{"open", !status.draining}, {"reason", status.cordon_reason}};
  out["requests"] = {
      {"open", status.open}, {"running", status.running}, {"waiting", status.waiting}};
  out["kv_blocks"] = {{"total", status.kv_blocks}, {"used", status.kv_blocks_used}};
  out["max_model_len"] = status.max_model_len;
  out["ranks"] = {{"total", status.ranks.size()}, {"up", up}};
  out["recent"] =
      recent_json(parts.metrics->recent().summary(parts.metrics->now(), kRecentSeconds));
  out["recent"]["seconds"] = kRecentSeconds;
  return out;
}

AdminJson health_document(const AdminParts& parts) {
  const auto checks = checks_of(parts, parts.engine->status());
  AdminJson out = document("health");
  out["health"] = severity_name(worst_severity(checks));
  out["checks"] = AdminJson::array();
  for (const HealthCheck& check : checks) out["checks"].push_back(check_json(check));
  return out;
}

AdminJson ranks_document(const AdminParts& parts) {
  const EngineStatus status = parts.engine->status();
  const auto totals = parts.metrics->rank_load().totals();
  AdminJson out = document("ranks");
  out["ranks"] = AdminJson::array();
  for (const RankStatus& rank : status.ranks) {
    const auto found = std::find_if(totals.begin(), totals.end(),
                                    [&](const auto& t) { return t.rank == rank.rank; });
    out["ranks"].push_back(rank_json(rank, found == totals.end() ? RankTotals{} : *found));
  }
  return out;
}

AdminJson requests_document(const std::vector<RequestStatus>& requests) {
  AdminJson out = document("requests");
  out["requests"] = AdminJson::array();
  for (const RequestStatus& request : requests) {
    out["requests"].push_back({{"id", request.id},
                               {"request_id", request.request_id},
                               {"state", request.running ? "running" : "waiting"},
                               {"rank", request.rank},
                               {"prompt_tokens", request.prompt_tokens},
                               {"computed_tokens", request.computed_tokens},
                               {"generated_tokens", request.generated_tokens},
                               {"max_tokens", request.max_tokens},
                               {"kv_blocks", request.kv_blocks},
                               {"priority", request.priority},
                               {"key", request.client},
                               {"replays", request.replays},
                               {"age_seconds", request.age_seconds}});
  }
  return out;
}

AdminJson experts_document(const AdminParts& parts) {
  const auto rank_rows = parts.metrics->rank_load().expert_rows();
  const auto rows = rows_by_layer(parts.metrics->rank_load().expert_counts(), parts.spec);
  const auto table = parts.engine->placement().table;
  const auto imbalance = max_over_mean(rank_rows);
  AdminJson out = document("experts");
  out["experts"] = parts.spec.experts;
  out["top_k"] = parts.spec.top_k;
  out["epoch"] = table != nullptr ? table->epoch() : 0;
  out["per_expert"] = !rows.empty();
  out["layers"] = AdminJson::array();
  const auto layers = parts.spec.moe_layers();
  for (size_t i = 0; i < layers.size(); ++i) {
    AdminJson layer = {{"moe_layer", i}, {"layer", layers[i]}};
    layer["rank_rows"] = i < rank_rows.size() ? AdminJson(rank_rows[i]) : AdminJson::array();
    layer["max_over_mean"] = i < imbalance.size() ? imbalance[i] : 1.0;
    layer["expert_rows"] = i < rows.size() ? AdminJson(rows[i]) : AdminJson::array();
    layer["holders"] = holders_json(table.get(), static_cast<int32_t>(i));
    out["layers"].push_back(std::move(layer));
  }
  return out;
}

AdminJson model_document(const AdminParts& parts) {
  const model::ModelSpec& spec = parts.spec;
  const EngineStatus status = parts.engine->status();
  AdminJson out = document("model");
  out["name"] = parts.model_name;
  out["path"] = parts.model_path;
  out["type"] = spec.model_type;
  out["layers"] = spec.layers;
  out["moe_layers"] = spec.moe_layers().size();
  out["experts"] = spec.experts;
  out["top_k"] = spec.top_k;
  out["hidden"] = spec.hidden;
  out["heads"] = spec.heads;
  out["kv_heads"] = spec.kv_heads;
  out["vocabulary"] = spec.vocab;
  out["parameters"] = spec.total_parameters();
  out["active_parameters"] = spec.active_parameters();
  out["max_model_len"] = status.max_model_len;
  out["compute"] = status.compute;
  out["kernel_set"] = status.kernel_set;
  out["fingerprint"] = status.model_fingerprint;
  return out;
}

AdminJson config_document(const AdminParts& parts) {
  AdminJson out = document("config");
  out["settings"] = AdminJson::object();
  for (const auto& [name, value] : parts.config) out["settings"][name] = value;
  out["settings"]["log-level"] = log_level_name(log_level());
  return out;
}

AdminJson version_document(const AdminParts& parts) {
  const EngineStatus status = parts.engine->status();
  AdminJson out = document("version");
  out["software"] = parts.version;
  out["api"] = "v1";
  out["model"] = parts.model_name;
  out["kernel_set"] = status.kernel_set;
  out["compute"] = status.compute;
  out["model_fingerprint"] = status.model_fingerprint;
  return out;
}

AdminJson history_document(const AdminParts& parts) {
  AdminJson out = document("history");
  out["period_seconds"] = 1;
  out["points"] = AdminJson::array();
  for (const auto& point : parts.metrics->recent().points(parts.metrics->now())) {
    out["points"].push_back(recent_json(point));
  }
  return out;
}

AdminJson logs_document(const AdminParts& parts) {
  AdminJson out = document("logs");
  out["level"] = log_level_name(log_level());
  out["lines"] = recent_log_lines();
  out["ranks"] = AdminJson::array();
  if (parts.rank_logs == nullptr) return out;
  for (const RankLog& log : parts.rank_logs->last()) {
    out["ranks"].push_back({{"rank", log.rank}, {"lines", log.lines}});
  }
  return out;
}

}  // namespace conclave::coordinator
