#include "coordinator/admin/chrome_trace.h"

#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

namespace conclave::coordinator {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kCoordinatorPid = 0;  // ranks follow: rank + 1

constexpr std::array<std::pair<std::string_view, std::string_view>, 20> kClasses = {{
    {"qkv", "gemm"},
    {"out projection", "gemm"},
    {"router", "gemm"},
    {"dense mlp", "gemm"},
    {"head", "gemm"},
    {"attention", "attention"},
    {"experts", "experts"},
    {"local experts", "experts"},
    {"remote experts", "experts"},
    {"dispatch", "exchange"},
    {"dispatch wait", "exchange"},
    {"return", "exchange"},
    {"combine", "exchange"},
    {"combine wait", "exchange"},
    {"result gather", "exchange"},
    {"send result", "exchange"},
    {"append kv", "memory"},
    {"embed", "memory"},
    {"residual", "memory"},
    {"norm", "memory"},
}};

double microseconds(double seconds) { return std::round(seconds * 1e9) / 1e3; }

Json name_event(int pid, const std::string& name) {
  return {
      {"name", "process_name"}, {"ph", "M"}, {"pid", pid}, {"tid", 0}, {"args", {{"name", name}}}};
}

std::string rank_name(const EngineStatus& status, int32_t rank) {
  std::string name = "rank " + std::to_string(rank);
  for (const RankStatus& one : status.ranks) {
    if (one.rank == rank && !one.host.empty()) name += " (" + one.host + ")";
  }
  return name;
}

void append_rank(const StepTrace& step, const protocol::RankTiming& timing, Json* events) {
  for (const protocol::TraceSpan& span : timing.spans) {
    Json args = {{"step", step.step}};
    if (span.layer >= 0) args["layer"] = span.layer;
    events->push_back({{"name", span.operation},
                       {"cat", operation_class(span.operation)},
                       {"ph", "X"},
                       {"ts", microseconds(step.begin_seconds + span.begin)},
                       {"dur", microseconds(span.end - span.begin)},
                       {"pid", timing.rank + 1},
                       {"tid", 0},
                       {"args", std::move(args)}});
  }
}

}  // namespace

std::string_view operation_class(std::string_view operation) {
  for (const auto& [name, kind] : kClasses) {
    if (name == operation) return kind;
  }
  return "other";
}

std::string chrome_trace_json(const TraceStatus& trace, const EngineStatus& status) {
  Json events = Json::array();
  events.push_back(name_event(kCoordinatorPid, "coordinator"));
  if (!trace.steps.empty()) {
    for (const protocol::RankTiming& timing : trace.steps.front().ranks)
      events.push_back(name_event(timing.rank + 1, rank_name(status, timing.rank)));
  }
  for (const StepTrace& step : trace.steps) {
    events.push_back({{"name", "step " + std::to_string(step.step)},
                      {"cat", "step"},
                      {"ph", "X"},
                      {"ts", microseconds(step.begin_seconds)},
                      {"dur", microseconds(step.seconds)},
                      {"pid", kCoordinatorPid},
                      {"tid", 0},
                      {"args", {{"step", step.step}}}});
    for (const protocol::RankTiming& timing : step.ranks) append_rank(step, timing, &events);
  }
  const Json out = {{"traceEvents", std::move(events)},
                    {"displayTimeUnit", "ms"},
                    {"otherData", {{"version", 1}, {"kernel_set", status.kernel_set}}}};
  return out.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace conclave::coordinator
