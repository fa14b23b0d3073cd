#ifndef CONCLAVE_CLI_OFFLINE_ENGINE_H_
#define CONCLAVE_CLI_OFFLINE_ENGINE_H_

// A cluster without HTTP, for commands that run a model and end: the same engine, scheduler and workers
// as `serve`, with ranks as threads of this process or under mpirun.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/group_options.h"
#include "coordinator/engine/engine.h"
#include "model/model_spec.h"

namespace conclave::cli {

// All that a finished request produced.
struct Generation {
  std::vector<coordinator::GeneratedToken> tokens;
  std::vector<coordinator::PromptPart> prompt;
  coordinator::GenerationEnd end;
};

class OfflineEngine {
 public:
  // Loads the model (progress on stderr if it is a terminal or `progress`) and waits until the group is ready.
  // observer may be null; it must outlive the engine.
  static absl::StatusOr<std::unique_ptr<OfflineEngine>> start(GroupOptions options, bool progress,
                                                              coordinator::EngineObserver* observer = nullptr);
  // The same on a shape with random weights instead of a model folder.
  static absl::StatusOr<std::unique_ptr<OfflineEngine>> start_shape(GroupOptions options, const std::string& shape_json,
                                                                    const std::string& source, bool progress,
                                                                    coordinator::EngineObserver* observer = nullptr);
  ~OfflineEngine();

  const model::ModelDescription& model() const { return description_; }
  coordinator::Engine& engine() { return *engine_; }
  // Runs one request to its end; on_token (may be empty) is called on the engine's thread.
  absl::StatusOr<Generation> run(coordinator::GenerationRequest request,
                                 std::function<void(const coordinator::GeneratedToken&)> on_token = {});
  // Runs them all, at most `in_flight` at once, in order of the results.
  absl::StatusOr<std::vector<Generation>> run_all(std::vector<coordinator::GenerationRequest> requests, int in_flight,
                                                  std::function<void(size_t done)> on_done = {});

 private:
  OfflineEngine() = default;
  static absl::StatusOr<std::unique_ptr<OfflineEngine>> launch(GroupOptions options, model::ModelDescription description,
                                                               const std::string& shape_json, bool progress,
                                                               coordinator::EngineObserver* observer);
  absl::Status wait_until_ready(bool progress);
  model::ModelDescription description_;
  std::unique_ptr<coordinator::Engine> engine_;
};

}  // namespace conclave::cli

#endif  // CONCLAVE_CLI_OFFLINE_ENGINE_H_
