#ifndef CONCLAVE_COORDINATOR_OPENAI_ENDPOINTS_H_
#define CONCLAVE_COORDINATOR_OPENAI_ENDPOINTS_H_

// The handlers behind the API's paths. Each answers on the connection's strand or later; none
// blocks.

#include <memory>

#include "coordinator/http/router.h"
#include "coordinator/openai/serving_context.h"
#include "coordinator/openai/text_workers.h"

namespace conclave::coordinator {

// /v1/chat/completions, /v1/completions
void add_generation_endpoints(Router& router, std::shared_ptr<ServingContext> context,
                              const std::shared_ptr<TextWorkers>& workers);
// /v1/models, /v1/models/{id}, /health, /version
void add_info_endpoints(Router& router, std::shared_ptr<ServingContext> context);
// /tokenize, /detokenize and the same below /v1
void add_tokenizer_endpoints(Router& router, std::shared_ptr<ServingContext> context,
                             const std::shared_ptr<TextWorkers>& workers);

// 415, with the sentence that says what to send, for a body that is compressed, not JSON or not
// UTF-8. A body that does not say what it is counts as JSON.
std::optional<ApiError> check_body_headers(const HttpRequest& request);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_OPENAI_ENDPOINTS_H_
