#include "coordinator/admin/health_report.h"

#include <string_view>

#include "coordinator/http/json_text.h"

namespace conclave::coordinator {
namespace {

// Members of one object, in the order they are added.
class ObjectWriter {
 public:
  explicit ObjectWriter(std::string* out) : out_(out) { out_->push_back('{'); }
  void text(std::string_view name, std::string_view value) {
    key(name);
    append_json_string(out_, value);
  }
  void integer(std::string_view name, int64_t value) {
    key(name);
    append_json_int(out_, value);
  }
  void real(std::string_view name, double value) {
    key(name);
    append_json_double(out_, value);
  }
  void boolean(std::string_view name, bool value) {
    key(name);
    out_->append(value ? "true" : "false");
  }
  void key(std::string_view name) {
    if (!first_) out_->push_back(',');
    first_ = false;
    append_json_string(out_, name);
    out_->push_back(':');
  }
  void close() { out_->push_back('}'); }

 private:
  std::string* out_;
  bool first_ = true;
};

void append_rank(std::string* out, const RankStatus& rank) {
  ObjectWriter object(out);
  object.integer("rank", rank.rank);
  object.text("host", rank.host);
  object.integer("pid", rank.pid);
  object.boolean("connected", rank.connected);
  object.integer("step", rank.step);
  object.integer("layer", rank.layer);
  object.text("operation", rank.operation);
  object.real("operation_age_seconds", rank.operation_age_seconds);
  object.real("heartbeat_age_seconds", rank.heartbeat_age_seconds);
  object.integer("load_bytes_done", static_cast<int64_t>(rank.load_bytes_done));
  object.integer("load_bytes_total", static_cast<int64_t>(rank.load_bytes_total));
  object.integer("kv_blocks", rank.kv_blocks);
  object.integer("kv_blocks_used", rank.kv_blocks_used);
  object.close();
}

std::string_view summary(const EngineStatus& status) {
  switch (status.state) {
    case GroupState::kStarting:
    case GroupState::kLoading:
      return "starting";
    case GroupState::kFailed:
      return "failed";
    case GroupState::kStopped:
      return "stopped";
    case GroupState::kDraining:
      return "draining";
    case GroupState::kReady:
      break;
  }
  return status.draining ? "draining" : "ok";
}

std::string_view first_fault(const ModelFolderFindings& findings) {
  if (!findings.gone.empty()) return findings.gone.front();
  if (!findings.changed.empty()) return findings.changed.front();
  return findings.silent_seconds > 0 ? "the file system does not answer" : "ok";
}

}  // namespace

std::string health_report(const EngineStatus& status, const ModelFolderFindings* model_folder) {
  std::string out;
  ObjectWriter object(&out);
  object.text("status", summary(status));
  object.text("group_state", group_state_name(status.state));
  object.boolean("draining", status.draining);
  object.text("last_failure", status.last_failure);
  object.integer("restarts", status.restarts);
  object.integer("running", status.running);
  object.integer("waiting", status.waiting);
  object.integer("kv_blocks", status.kv_blocks);
  object.integer("kv_blocks_used", status.kv_blocks_used);
  object.integer("max_model_len", status.max_model_len);
  object.integer("placement_epoch", status.placement_epoch);
  if (model_folder != nullptr) object.text("model_files", first_fault(*model_folder));
  object.key("ranks");
  out.push_back('[');
  for (size_t i = 0; i < status.ranks.size(); ++i) {
    if (i != 0) out.push_back(',');
    append_rank(&out, status.ranks[i]);
  }
  out.push_back(']');
  object.close();
  return out;
}

}  // namespace conclave::coordinator
