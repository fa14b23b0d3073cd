#include "cli/conclavectl/tables.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/conclavectl/output.h"

namespace conclave::ctl {
namespace {

std::string rank_list(const Json& ranks) {
  std::string text;
  for (const Json& rank : ranks) absl::StrAppend(&text, text.empty() ? "" : "+", text_of(rank));
  return text;
}

// "7 (12.5 %) 3 (11.0 %)": the experts that got most rows.
std::string busiest(const Json& layer, size_t count) {
  const auto rows = layer["expert_rows"].get<std::vector<double>>();
  const double total = std::accumulate(rows.begin(), rows.end(), 0.0);
  std::vector<size_t> order(rows.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return rows[a] != rows[b] ? rows[a] > rows[b] : a < b; });
  std::string text;
  for (size_t i = 0; i < std::min(count, order.size()) && total > 0; ++i) {
    const Json& holders = layer["holders"];
    const std::string where = order[i] < holders.size() ? absl::StrCat("@", rank_list(holders[order[i]])) : "";
    absl::StrAppend(&text, text.empty() ? "" : "  ", order[i], where, " ", format_number(100 * rows[order[i]] / total), " %");
  }
  return text;
}

void append_flat(const std::string& name, const Json& value, std::string* out) {
  if (value.is_object()) {
    for (const auto& [key, member] : value.items()) append_flat(name.empty() ? key : absl::StrCat(name, ".", key), member, out);
    return;
  }
  const size_t dot = name.rfind('.');
  const std::string member = dot == std::string::npos ? name : name.substr(dot + 1);
  absl::StrAppend(out, name, ": ", format_member(member, value), "\n");
}

std::string latency_text(const Json& quantiles) {
  if (number_of(quantiles, "p99") == 0) return "-";  // nothing was measured
  return absl::StrCat("p50 ", format_seconds(number_of(quantiles, "p50")), " p99 ",
                      format_seconds(number_of(quantiles, "p99")));
}

std::string checks_text(const Json& checks) {
  std::string text;
  for (const Json& code : checks) absl::StrAppend(&text, text.empty() ? "  " : ", ", text_of(code));
  return text;
}

}  // namespace

std::string status_screen(const Json& status) {
  const Json& group = status["group"];
  const Json& recent = status["recent"];
  const std::string health = text_of(status["health"]);
  std::string out = absl::StrCat("health     ", coloured(health, colour_of_health(health)), checks_text(status["checks"]), "\n");
  absl::StrAppend(&out, "model      ", text_of(status["model"]), "  (conclave ", text_of(status["software"]), ", up ",
                  format_seconds(number_of(status, "uptime_seconds")), ")\n");
  absl::StrAppend(&out, "group      ", text_of(group["state"]), ", ", text_of(status["ranks"]["up"]), " of ",
                  text_of(status["ranks"]["total"]), " ranks up, ", text_of(group["kernel_set"]), ", ", text_of(group["compute"]),
                  ", ", text_of(group["transport"]), "\n");
  absl::StrAppend(&out, "           placement epoch ", text_of(group["placement_epoch"]), ", ", text_of(group["restarts"]), " restarts\n");
  if (!group["last_failure"].empty() && group["last_failure"] != "")
    absl::StrAppend(&out, "           last failure: ", text_of(group["last_failure"]), "\n");
  const Json& readiness = status["readiness"];
  const std::string since = text_of(readiness["since"]);
  absl::StrAppend(&out, "ready      ", readiness["ready"] == true ? "yes" : "no", since.empty() ? "" : ", since " + since,
                  readiness["ready"] == true ? "" : ": " + text_of(readiness["reason"]), "\n");
  if (!text_of(readiness["warning"]).empty()) absl::StrAppend(&out, "           ", text_of(readiness["warning"]), "\n");
  absl::StrAppend(&out, "admission  ", status["admission"]["open"] == true ? "open" : "closed: ", text_of(status["admission"]["reason"]), "\n");
  absl::StrAppend(&out, "requests   ", text_of(status["requests"]["running"]), " running, ", text_of(status["requests"]["waiting"]), " waiting\n");
  const double blocks = number_of(status["kv_blocks"], "total");
  const double used = number_of(status["kv_blocks"], "used");
  absl::StrAppend(&out, "kv cache   ", absl::StrFormat("%.0f of %.0f blocks (%.1f %%)", used, blocks, blocks > 0 ? 100 * used / blocks : 0), "\n");
  absl::StrAppend(&out, "last ", text_of(recent["seconds"]), " s  ",
                  absl::StrFormat("%.1f tokens/s out, %.1f in", number_of(recent, "generated_tokens_per_second"),
                                  number_of(recent, "prompt_tokens_per_second")), "\n");
  absl::StrAppend(&out, "           first token ", latency_text(recent["time_to_first_token_seconds"]), ", next token ",
                  latency_text(recent["inter_token_latency_seconds"]), "\n");
  return out;
}

std::string ranks_table(const Json& document, bool wide) {
  std::vector<std::string> header = {"RANK", "HOST", "UP", "STEP", "DOING", "HEARD", "KV", "TOKENS", "COMPUTE", "WAIT", "SLOWEST"};
  if (wide) header.insert(header.end(), {"PID", "WEIGHTS", "KV-BYTES", "LOAD", "EXCHANGE", "EXPOSED", "SENT", "MESSAGES", "EXPERT-ROWS"});
  Table table(std::move(header));
  for (const Json& rank : document["ranks"]) {
    const Json& totals = rank["totals"];
    const std::string layer = number_of(rank, "layer", -1) >= 0 ? absl::StrCat(" of layer ", text_of(rank["layer"])) : "";
    std::vector<std::string> row = {
        text_of(rank["rank"]), text_of(rank["host"]), rank["up"] == true ? "yes" : "NO", text_of(rank["step"]),
        text_of(rank["operation"]) + layer, format_seconds(number_of(rank, "heartbeat_age_seconds")),
        absl::StrCat(text_of(rank["kv_blocks_used"]), "/", text_of(rank["kv_blocks"])), format_number(number_of(totals, "tokens"), 0),
        format_seconds(number_of(totals, "compute_seconds")), format_seconds(number_of(totals, "wait_seconds")),
        format_number(number_of(totals, "slowest_steps"), 0)};
    if (wide) {
      row.insert(row.end(), {text_of(rank["pid"]), format_bytes(number_of(rank, "weight_bytes")), format_bytes(number_of(rank, "kv_bytes")),
                             format_seconds(number_of(rank, "load_seconds")), format_seconds(number_of(totals, "exchange_seconds")),
                             format_seconds(number_of(totals, "exchange_exposed_seconds")), format_bytes(number_of(totals, "exchange_bytes")),
                             format_number(number_of(totals, "exchange_messages"), 0), format_number(number_of(totals, "expert_rows"), 0)});
    }
    table.add(std::move(row));
  }
  return table.text();
}

std::string requests_table(const Json& document, bool wide) {
  std::vector<std::string> header = {"ID", "REQUEST", "STATE", "RANK", "AGE", "PROMPT", "GENERATED"};
  if (wide) header.insert(header.end(), {"COMPUTED", "LIMIT", "BLOCKS", "PRIORITY", "KEY", "REPLAYS"});
  Table table(std::move(header));
  for (const Json& request : document["requests"]) {
    std::vector<std::string> row = {
        text_of(request["id"]), text_of(request["request_id"]), text_of(request["state"]),
        number_of(request, "rank", -1) < 0 ? "-" : text_of(request["rank"]), format_seconds(number_of(request, "age_seconds")),
        text_of(request["prompt_tokens"]), text_of(request["generated_tokens"])};
    if (wide) {
      for (const char* name : {"computed_tokens", "max_tokens", "kv_blocks", "priority", "key", "replays"}) row.push_back(text_of(request[name]));
    }
    table.add(std::move(row));
  }
  return table.text();
}

std::string experts_table(const Json& document, bool wide) {
  const bool per_expert = document["per_expert"] == true;
  std::vector<std::string> header = {"MOE-LAYER", "LAYER", "MAX/MEAN", "SHARE-OF-RANKS"};
  if (per_expert) header.push_back("BUSIEST-EXPERTS");
  Table table(std::move(header));
  for (const Json& layer : document["layers"]) {
    const auto rows = layer["rank_rows"].get<std::vector<double>>();
    const double total = std::accumulate(rows.begin(), rows.end(), 0.0);
    std::string shares;
    for (const double value : rows)
      absl::StrAppend(&shares, shares.empty() ? "" : " ", total > 0 ? format_number(100 * value / total) : "0", "%");
    std::vector<std::string> row = {text_of(layer["moe_layer"]), text_of(layer["layer"]), format_number(number_of(layer, "max_over_mean", 1), 3), shares};
    if (per_expert) row.push_back(busiest(layer, wide ? 12 : 4));
    table.add(std::move(row));
  }
  return table.text();
}

std::string description(const Json& document) {
  std::string out;
  if (!document.is_object()) return text_of(document) + "\n";
  for (const auto& [name, value] : document.items()) {
    if (name != "version" && name != "kind") append_flat(name, value, &out);
  }
  return out;
}

std::string first_lines(const std::string& text, int lines) {
  size_t at = 0;
  for (int i = 0; i < lines; ++i) {
    at = text.find('\n', at);
    if (at == std::string::npos) return text;
    ++at;
  }
  return text.substr(0, at);
}

}  // namespace conclave::ctl
