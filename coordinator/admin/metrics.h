#ifndef CONCLAVE_COORDINATOR_ADMIN_METRICS_H_
#define CONCLAVE_COORDINATOR_ADMIN_METRICS_H_

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/admin/failed_requests.h"
#include "coordinator/admin/model_folder_snapshot.h"
#include "coordinator/admin/rank_load.h"
#include "coordinator/admin/recent_window.h"
#include "coordinator/engine/engine_observer.h"

namespace conclave::coordinator {

// What the engine and the HTTP server report, as Prometheus metrics (metric_catalogue.h). The
// observer calls cost well under a microsecond each; step_finished is for the engine's thread
// alone, all else for any thread.
class Metrics : public EngineObserver {
 public:
  struct Options {
    std::string version, model;
    bool vllm_names = false;  // export the vLLM names as well
  };
  explicit Metrics(Options options);
  ~Metrics() override;
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // The text exposition format, version 0.0.4. status, model_folder: what is asked at each scrape
  // instead of being counted.
  std::string exposition(const EngineStatus& status,
                         const ModelFolderFindings& model_folder = {}) const;
  const RankLoad& rank_load() const { return rank_load_; }
  const RecentWindow& recent() const { return recent_; }
  const FailedRequests& failed_requests() const { return failed_; }
  // Requests of clients that ended so since the start.
  int64_t ended(FinishReason reason) const;
  // On the clock of recent().
  double now() const;

  // handler: a route's pattern, of a bounded set. method: anything; unknown ones count as "other".
  void http_answered(const std::string& handler, const std::string& method, int status,
                     double seconds);

  void request_queued(int32_t prompt_tokens) override;
  void request_refused(absl::StatusCode code) override;
  void request_scheduled(double queue_seconds, int32_t prompt_tokens,
                         int32_t cached_tokens) override;
  void first_token(double seconds_since_queued) override;
  void next_token(double seconds_since_last) override;
  void request_finished(FinishReason reason, double seconds_since_queued, int32_t prompt_tokens,
                        int32_t generated_tokens) override;
  void request_failed(const std::string& request_id, const absl::Status& why) override;
  void tokens_computed(int64_t prompt_tokens, int64_t generated_tokens) override;
  void prefix_lookup(int64_t queried_tokens, int64_t hit_tokens) override;
  void request_preempted() override;
  void group_restarted() override;
  void step_finished(double seconds, std::span<const protocol::RankTiming> ranks) override;
  void load(int32_t running, int32_t waiting, int32_t kv_blocks_used, int32_t kv_blocks) override;
  void group_state(GroupState state) override;
  void clients(const std::map<std::string, ClientLoad>& loads) override;
  void routing_reported(std::span<const protocol::RoutingCounts> ranks) override;
  void placement_replaced(const Replacement& replacement) override;

 private:
  struct Families;
  std::string key_label(const std::string& name);

  const Options options_;
  const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
  RecentWindow recent_;
  RankLoad rank_load_;
  FailedRequests failed_;

  std::unique_ptr<Families> families_;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ADMIN_METRICS_H_
