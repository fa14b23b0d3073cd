#ifndef CONCLAVE_BENCH_ENGINE_BENCH_H_
#define CONCLAVE_BENCH_ENGINE_BENCH_H_

// How fast an engine decodes and prefills, beside what the model's bytes and FLOPs allow.

#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/engine/engine.h"
#include "coordinator/engine/engine_observer.h"
#include "model/model_spec.h"

namespace conclave::bench {

struct StepRecord {
  std::chrono::steady_clock::time_point finished;
  double seconds = 0;
  int64_t tokens = 0;                   // rows of all ranks
  double compute_seconds = 0;           // the slowest rank's
  double exchange_seconds = 0;          // the slowest rank's
  double exchange_exposed_seconds = 0;  // the slowest rank's
  double rank_seconds = 0;              // computing and waiting, of the rank that took longest
  int64_t bytes_sent = 0;               // all ranks
};

// Keeps what each step reported. The engine calls it on its thread; take() may be called by any.
class StepRecorder : public coordinator::EngineObserver {
 public:
  void step_finished(double seconds, std::span<const protocol::RankTiming> ranks) override;
  std::vector<StepRecord> take();
  // Called on the engine's thread after each step, until another is set; null: nobody watches.
  void watch(std::function<void()> on_step);

 private:
  std::mutex mutex_;
  std::vector<StepRecord> steps_;
  std::function<void()> on_step_;
};

struct EngineBenchOptions {
  int32_t batch = 1;            // sequences decoded together
  int32_t prompt_tokens = 32;   // context before decode
  int32_t decode_tokens = 64;   // steps measured
  int32_t prefill_tokens = 512; // per sequence
  int32_t prefill_sequences = 1;
  int32_t repeats = 3;
  uint64_t seed = 1;
};

struct Phase {
  double seconds_per_step = 0;       // decode: over the whole run, gaps between steps included; prefill: best step
  double tokens_per_second = 0;
  double compute_ms = 0;             // per step, on the ranks
  double ranks_ms = 0;               // per step, with their waits: the rest of a step is between them and the engine
  double exchange_ms = 0;            // per step
  double exchange_exposed_ms = 0;
  double exchange_bytes = 0;         // per step
  double bytes_per_step = 0;         // weights and K/V read (decode)
  double flops_per_step = 0;         // matmul and attention (prefill)
};

// Token ids are random. The engine must be ready and idle, with prefix caching off.
absl::StatusOr<Phase> bench_decode(coordinator::Engine& engine, StepRecorder& recorder, const model::ModelSpec& spec,
                                   ComputeType compute, const EngineBenchOptions& options);
absl::StatusOr<Phase> bench_prefill(coordinator::Engine& engine, StepRecorder& recorder, const model::ModelSpec& spec,
                                    const EngineBenchOptions& options);

// Bytes that a decode step of `batch` rows at context length `context` must read: attention, router, shared and
// dense weights and the head once, each expert that uniform routing is expected to touch once, the rows' K/V.
double decode_bytes(const model::ModelSpec& spec, ComputeType compute, int32_t batch, int32_t context);
// Multiply-adds x 2 of a prefill of `sequences` prompts of `tokens` each: matmuls and attention only; head on the last rows.
double prefill_flops(const model::ModelSpec& spec, int32_t tokens, int32_t sequences);

}  // namespace conclave::bench

#endif  // CONCLAVE_BENCH_ENGINE_BENCH_H_
