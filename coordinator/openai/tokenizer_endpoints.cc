#include <utility>

#include "coordinator/http/json_text.h"
#include "coordinator/openai/endpoints.h"

namespace conclave::coordinator {
namespace {

std::string tokenize_answer(const ServingContext& context, const std::vector<int32_t>& ids,
                            bool with_strings) {
  std::string out = "{\"count\":";
  append_json_int(&out, static_cast<int64_t>(ids.size()));
  out.append(",\"max_model_len\":");
  append_json_int(&out, context.engine->status().max_model_len);
  out.append(",\"tokens\":[");
  for (size_t i = 0; i < ids.size(); ++i) {
    if (i != 0) out.push_back(',');
    append_json_int(&out, ids[i]);
  }
  out.push_back(']');
  if (with_strings) {
    out.append(",\"token_strs\":[");
    for (size_t i = 0; i < ids.size(); ++i) {
      if (i != 0) out.push_back(',');
      append_json_string(&out, context.tokenizer->token_string(ids[i]));
    }
    out.push_back(']');
  }
  out.push_back('}');
  return out;
}

std::optional<ApiError> tokenize(ServingContext& context, const HttpRequest& http,
                                 std::string* answer) {
  if (auto error = check_body_headers(http)) return error;
  TokenizeRequest request;
  if (auto error = parse_tokenize_request(http.body, &request)) return error;
  context.unknown_fields.note(request.unknown);
  if (auto error = check_model(context, request.model)) return error;
  std::vector<int32_t> ids;
  if (request.prompt.has_value()) {
    ids = context.tokenizer->encode(*request.prompt, request.add_special_tokens);
  } else if (auto error = encode_chat(context, request.chat, &ids)) {
    return error;
  }
  *answer = tokenize_answer(context, ids, request.return_token_strs);
  return std::nullopt;
}

std::optional<ApiError> detokenize(ServingContext& context, const HttpRequest& http,
                                   std::string* answer) {
  if (auto error = check_body_headers(http)) return error;
  DetokenizeRequest request;
  if (auto error = parse_detokenize_request(http.body, &request)) return error;
  context.unknown_fields.note(request.unknown);
  if (auto error = check_model(context, request.model)) return error;
  if (auto error = check_token_ids(context, request.tokens, "tokens")) return error;
  *answer = "{\"prompt\":" + json_string(context.tokenizer->decode(request.tokens, request.skip_special_tokens)) + "}";
  return std::nullopt;
}

using TextEndpoint = std::optional<ApiError> (*)(ServingContext&, const HttpRequest&, std::string*);

void add(Router& router, const char* path, std::shared_ptr<ServingContext> context,
         const std::shared_ptr<TextWorker>& worker, TextEndpoint endpoint) {
  router.add("POST", path,
             off_the_loop(worker, [context, endpoint](HttpRequest request, const std::string&,
                                                      std::shared_ptr<HttpResponder> responder) {
               std::string answer;
               if (const auto error = endpoint(*context, request, &answer))
                 return respond_error(*responder, *error);
               respond_json(*responder, 200, std::move(answer));
             }));
}

}  // namespace

void add_tokenizer_endpoints(Router& router, std::shared_ptr<ServingContext> context,
                             const std::shared_ptr<TextWorker>& worker) {
  for (const char* path : {"/tokenize", "/v1/tokenize"})
    add(router, path, context, worker, tokenize);
  for (const char* path : {"/detokenize", "/v1/detokenize"})
    add(router, path, context, worker, detokenize);
}

}  // namespace conclave::coordinator
