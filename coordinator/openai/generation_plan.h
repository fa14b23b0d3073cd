#ifndef CONCLAVE_COORDINATOR_OPENAI_GENERATION_PLAN_H_
#define CONCLAVE_COORDINATOR_OPENAI_GENERATION_PLAN_H_

// From a parsed request to what the engine shall do: checks against the model, prompts as token
// ids, limits.

#include <atomic>
#include <optional>
#include <string>

#include "coordinator/openai/generation_session.h"
#include "coordinator/openai/serving_context.h"

namespace conclave::coordinator {

// gone: the client has left; tokenising then ends early, with an error that nobody reads.
std::optional<ApiError> plan_chat(const ServingContext& context, ChatRequest request,
                                  const EngineStatus& engine, const std::atomic<bool>& gone,
                                  SessionPlan* plan);
std::optional<ApiError> plan_completion(const ServingContext& context, CompletionRequest request,
                                        const EngineStatus& engine, const std::atomic<bool>& gone,
                                        SessionPlan* plan);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_OPENAI_GENERATION_PLAN_H_
