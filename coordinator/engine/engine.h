#ifndef CONCLAVE_COORDINATOR_ENGINE_ENGINE_H_
#define CONCLAVE_COORDINATOR_ENGINE_ENGINE_H_

// From token ids to token ids: admission, scheduling, worker groups, journal. Knows no HTTP and no
// text.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/log.h"
#include "coordinator/engine/engine_inspection.h"
#include "expert_placement/table/placement_table.h"
#include "protocol/step_plan.h"

namespace conclave::coordinator {

// One output sequence ("choice") of a client's request.
struct GenerationRequest {
  std::string request_id;       // the client's id, for logs
  std::string client;           // whose it is: the name of an API key; "" without keys
  int32_t client_weight = 1;    // >= 1: the client's share of served tokens beside other clients'
  std::vector<int32_t> prompt;  // >= 1 token
  protocol::Sampling
      sampling;  // seed drawn by the caller at admission; position/counts are the engine's
  int32_t max_tokens = 16;  // >= 0 (0: prompt logprobs only)
  int32_t min_tokens = 0;   // end-of-text and stop tokens are banned before
  bool ignore_eos = false;
  std::vector<int32_t> stop_token_ids;  // besides the model's end-of-text ids
  int32_t priority = 0;                 // lower is sooner
  bool probe = false;                   // asks whether the cluster lives: no full queue refuses it
  int32_t prompt_top_logprobs =
      -1;  // >= 0: report logprobs of prompt tokens 1.. (turns prefix caching off)
  bool want_logits = false;  // offline tools
  bool want_routing = false;
};

struct GeneratedToken {
  int32_t id = 0;
  float logprob = 0;
  std::vector<protocol::TokenLogprob> top;
};
enum class FinishReason : uint8_t { kStop, kLength, kCancelled, kError };
struct GenerationEnd {
  FinishReason reason = FinishReason::kStop;
  std::optional<int32_t> stop_token;  // the token id that stopped it; not among the emitted tokens
  int32_t cached_prompt_tokens = 0;
  absl::Status error;  // for kError: what to tell the client
};
struct PromptPart {  // a computed piece of the prompt, in order
  int32_t start = 0;
  int32_t rows = 0;
  std::vector<protocol::PromptLogprob> logprobs;  // row relative to start
  std::vector<float> logits;
  std::vector<int32_t> routing;
};

// Called on the engine's thread: must return at once (queue and post). Calls for one request are
// ordered; on_end is the last and comes exactly once for each accepted request.
class GenerationListener {
 public:
  virtual ~GenerationListener() = default;
  virtual void on_prompt(PromptPart part) {}
  virtual void on_token(GeneratedToken token) = 0;
  virtual void on_end(GenerationEnd end) = 0;
};

enum class GroupState : uint8_t { kStarting, kLoading, kReady, kFailed, kDraining, kStopped };
const char* group_state_name(GroupState state);

struct RankStatus {
  int32_t rank = 0;
  std::string host;
  int64_t pid = 0;
  bool connected = false;
  int64_t step = -1;
  int32_t layer = -1;
  std::string operation;
  double operation_age_seconds = 0;
  double heartbeat_age_seconds = 0;
  uint64_t load_bytes_done = 0, load_bytes_total = 0;
  int32_t kv_blocks = 0, kv_blocks_used = 0;
  uint64_t weight_bytes = 0, kv_bytes = 0;  // 0 until the rank is ready
  double load_seconds = 0;
  // Of one exchange with all other ranks; 0 unless the plan was to be chosen (--plan auto).
  double exchange_latency_seconds = 0, exchange_bytes_per_second = 0;
};
struct EngineStatus {
  GroupState state = GroupState::kStarting;
  bool draining = false;      // takes no new requests: cordoned, or drained for good
  std::string cordon_reason;  // "" unless cordoned
  int64_t open = 0;           // accepted sequences that have not ended
  std::string last_failure;  // one sentence naming rank, host, layer, operation, age; "" if none
  // Once kFailed for good before the group was ever ready: whether a rank refused what it was asked
  // (a model, a setting), or deaths used up the attempts, and a later start may succeed.
  enum class StartFailure : uint8_t { kNone, kRefused, kDied };
  StartFailure start_failure = StartFailure::kNone;
  int32_t start_attempts = 0;  // so far, until it was ready for the first time
  bool checking = false;       // loaded; the start-up check has not passed yet (state: kLoading)
  std::string warning;         // of the last start-up check; "" if it found nothing odd
  double since = 0;            // Unix time from which on readiness() gives its answer
  std::string handed_over_to;  // another cluster answers new requests; "" if none does
  int64_t restarts = 0;
  std::vector<RankStatus> ranks;
  int32_t running = 0, waiting = 0;
  int32_t kv_blocks = 0, kv_blocks_used = 0;
  int32_t max_model_len = 0;
  std::string kernel_set, compute, transport;
  std::string plan = "fixed";          // fixed or coherent
  std::string model_fingerprint;       // empty until the group has been ready once
  int64_t placement_epoch = 0;
};

// Where the experts are, and where they are going.
struct PlacementStatus {
  std::shared_ptr<const placement::PlacementTable> table;  // in force; null: no MoE layers are known
  bool applying = false;
  int64_t target_epoch = 0;   // what the table's epoch will be when nothing is left to do
  int32_t stages_left = 0;    // epochs until then
  std::string last_failure;   // of an update that was taken back
  uint64_t expert_slot_bytes = 0;
  int32_t expert_slots = 0;   // per rank and layer; 0: no group is ready
  double last_pause_seconds = 0;  // of the last switch; 0: there was none
  double remote_fraction = 0;     // expert rows computed away from their token, lately
};

// Thread-safe.
class Engine {
 public:
  virtual ~Engine() = default;
  // INVALID_ARGUMENT (too long for the model: message says both numbers), RESOURCE_EXHAUSTED (queue
  // full: 429), UNAVAILABLE (starting, failed or draining: 503).
  virtual absl::StatusOr<SequenceId> submit(GenerationRequest request,
                                            std::shared_ptr<GenerationListener> listener) = 0;
  // The client went away, or a stop string was found. on_end(kCancelled) follows unless it already
  // ended.
  virtual void cancel(SequenceId id) = 0;
  virtual EngineStatus status() const = 0;
  // Ends every open request with kError and this reason; the group stays. Returns at once.
  virtual void end_requests(absl::Status why) = 0;
  virtual PlacementStatus placement() const { return {}; }
  // Begins to bring the experts to where target wants them, while requests run; placement() tells how far it
  // is. INVALID_ARGUMENT: the table is not for this model and group; FAILED_PRECONDITION: not now.
  virtual absl::Status apply_placement(const placement::PlacementTable& target) {
    return absl::UnimplementedError("this engine has one placement");
  }
  // Stops admission; running and queued requests finish. Returns at once.
  virtual void drain() = 0;
  virtual bool drained() const = 0;
  // Takes no new requests (UNAVAILABLE, naming the reason) until uncordon(); open ones go on.
  virtual void cordon(std::string reason) = 0;
  virtual void uncordon() = 0;
  // Another cluster answers new requests from now on; only for status().
  virtual void note_handover(std::string successor) {}
  // The open sequences in order of acceptance, as the engine's thread sees them; waits for it at
  // most `patience`, then UNAVAILABLE.
  virtual absl::StatusOr<std::vector<RequestStatus>> requests(
      std::chrono::milliseconds patience) const = 0;
  // Forgets the last trace and traces the next `steps` steps, or fewer if stop_trace() comes before.
  virtual void start_trace(int32_t steps) = 0;
  virtual void stop_trace() = 0;
  virtual TraceStatus trace() const = 0;
  // Of the ranks, from their next step on; this process's level is set_log_level() of base/log.h.
  virtual void set_rank_log_level(LogLevel level) = 0;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ENGINE_ENGINE_H_
