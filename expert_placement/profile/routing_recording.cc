#include "expert_placement/profile/routing_recording.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/safetensors.h"

namespace conclave::placement {
namespace {

using nlohmann::json;

constexpr int kVersion = 1;

absl::Status bad(const std::string& path, const std::string& what) {
  return absl::InvalidArgumentError(
      absl::StrCat(path, ": ", what, "; expected a file of conclave serve --record-routing"));
}

std::span<const std::byte> bytes_of(const auto& values) { return std::as_bytes(std::span(values)); }

template <typename T>
absl::Status read_column(const model::SafetensorsFile& file, const std::string& name,
                         const std::string& dtype, int64_t rows, std::vector<T>* out) {
  const auto it = file.header().tensors.find(name);
  if (it == file.header().tensors.end() || it->second.dtype != dtype ||
      it->second.shape != std::vector<int64_t>{rows}) {
    return bad(file.path(), absl::StrCat("has no tensor \"", name, "\" of ", rows, " ", dtype));
  }
  const std::span<const std::byte> bytes = file.data(it->second);
  out->resize(static_cast<size_t>(rows));
  if (!bytes.empty()) std::memcpy(out->data(), bytes.data(), bytes.size());
  return absl::OkStatus();
}

absl::StatusOr<json> read_head(const model::SafetensorsFile& file) {
  const auto meta = file.header().metadata.find("routing_recording");
  if (meta == file.header().metadata.end())
    return bad(file.path(), "has no metadata \"routing_recording\"");
  json head = json::parse(meta->second, nullptr, /*allow_exceptions=*/false);
  const auto is_number = [&](const char* key) {
    return head.contains(key) && head[key].is_number_integer();
  };
  if (!head.is_object() || !is_number("version") || head["version"] != kVersion ||
      !std::ranges::all_of(std::initializer_list<const char*>{"layers", "row_bytes", "state_bytes",
                                                              "key_value_bytes"},
                           is_number) ||
      !head.contains("complete") || !head["complete"].is_boolean() || !head.contains("tables") ||
      !head["tables"].is_array()) {
    return bad(file.path(), "has damaged metadata");
  }
  return head;
}

absl::Status check_row(const RoutingRecording& r, size_t row) {
  const int32_t table = r.table[row];
  if (table < 0 || static_cast<size_t>(table) >= r.tables.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("row ", row, " names placement table ", table, " of ", r.tables.size()));
  }
  const int32_t ranks = r.tables[static_cast<size_t>(table)].ranks();
  if (r.home[row] < 0 || r.home[row] >= ranks) {
    return absl::InvalidArgumentError(
        absl::StrCat("row ", row, " was on rank ", r.home[row], " of ", ranks));
  }
  if (r.plan[row] <= RowPlan::kPublished) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("row ", row, " names a plan that is not known"));
}

absl::Status read_tables(const json& head, const std::string& path, RoutingRecording* recording) {
  for (const json& entry : head["tables"]) {
    ASSIGN_OR_RETURN(PlacementTable table, PlacementTable::from_json(entry.dump(), path));
    const bool fits =
        table.layers() == recording->rows.layers && table.experts() == recording->rows.experts &&
        (recording->tables.empty() || table.ranks() == recording->tables.front().ranks());
    if (!fits) return bad(path, "holds a placement table of another model or group");
    recording->tables.push_back(std::move(table));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status save_recording(const RoutingRecording& r, const std::string& path) {
  const int64_t rows = r.rows.rows();
  const std::vector<model::TensorToWrite> tensors = {
      {"step", "I64", {rows}, bytes_of(r.step)},
      {"sequence", "I32", {rows}, bytes_of(r.rows.sequence)},
      {"position", "I32", {rows}, bytes_of(r.position)},
      {"home", "I32", {rows}, bytes_of(r.home)},
      {"table", "I32", {rows}, bytes_of(r.table)},
      {"experts", "U16", {rows, r.rows.layers, r.rows.top_k}, bytes_of(r.rows.chosen)},
      {"plan", "U8", {rows}, bytes_of(r.plan)}};
  json head{{"version", kVersion},
            {"layers", r.layers},
            {"row_bytes", r.wire.row},
            {"state_bytes", r.wire.state},
            {"key_value_bytes", r.wire.key_value},
            {"model_fingerprint", r.model_fingerprint},
            {"complete", r.complete},
            {"tables", json::array()}};
  for (const PlacementTable& table : r.tables)
    head["tables"].push_back(json::parse(table.to_json()));
  return model::write_safetensors(
      path, tensors,
      {{"experts", absl::StrCat(r.rows.experts)}, {"routing_recording", head.dump()}});
}

absl::StatusOr<RoutingRecording> load_recording(const std::string& path) {
  ASSIGN_OR_RETURN(const auto file, model::SafetensorsFile::open(path));
  ASSIGN_OR_RETURN(const json head, read_head(*file));
  RoutingRecording recording;
  ASSIGN_OR_RETURN(recording.rows, read_trace(path));
  const int64_t rows = recording.rows.rows();
  RETURN_IF_ERROR(read_column(*file, "step", "I64", rows, &recording.step));
  RETURN_IF_ERROR(read_column(*file, "position", "I32", rows, &recording.position));
  RETURN_IF_ERROR(read_column(*file, "home", "I32", rows, &recording.home));
  RETURN_IF_ERROR(read_column(*file, "table", "I32", rows, &recording.table));
  RETURN_IF_ERROR(read_column(*file, "plan", "U8", rows, &recording.plan));
  recording.layers = head["layers"];
  recording.wire = {head["row_bytes"], head["state_bytes"], head["key_value_bytes"]};
  recording.complete = head["complete"];
  if (head.contains("model_fingerprint") && head["model_fingerprint"].is_string())
    recording.model_fingerprint = head["model_fingerprint"].get<std::string>();
  RETURN_IF_ERROR(read_tables(head, path, &recording));
  for (size_t row = 0; row < recording.rows.sequence.size(); ++row) {
    const absl::Status fits = check_row(recording, row);
    if (!fits.ok()) return bad(path, std::string(fits.message()));
  }
  return recording;
}

}  // namespace conclave::placement
