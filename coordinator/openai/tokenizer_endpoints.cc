#include <utility>

#include "coordinator/http/json_text.h"
#include "coordinator/openai/encode_text.h"
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
                                 const std::atomic<bool>& gone, std::string* answer) {
  if (auto error = check_body_headers(http)) return error;
  TokenizeRequest request;
  if (auto error = parse_tokenize_request(http.body, &request)) return error;
  context.unknown_fields.note(request.unknown);
  if (auto error = check_model(context, request.model)) return error;
  std::vector<int32_t> ids;
  const EncodeLimits limits{.max_tokens = kMaxTokenizedTokens, .cancelled = &gone};
  if (request.prompt.has_value()) {
    if (auto error = encode_text(*context.tokenizer, *request.prompt, request.add_special_tokens,
                                 limits, "prompt", &ids)) {
      return error;
    }
  } else {
    if (auto error = check_template_fields(context, request.chat)) return error;
    if (auto error = encode_chat(context, request.chat, limits, &ids)) return error;
  }
  *answer = tokenize_answer(context, ids, request.return_token_strs);
  return std::nullopt;
}

// The text, unless it grows beyond kMaxDetokenizedBytes: tokens can be far longer than their ids.
std::optional<ApiError> decode_within(const Tokenizer& tokenizer, const DetokenizeRequest& request,
                                      const std::atomic<bool>& gone, std::string* text) {
  const auto stream = tokenizer.new_stream(request.skip_special_tokens);
  for (const int32_t id : request.tokens) {
    if (gone) break;
    text->append(stream->append(id));
    if (text->size() > kMaxDetokenizedBytes) {
      return bad_request("The text of 'tokens' has more than " +
                             std::to_string(kMaxDetokenizedBytes) + " bytes; send fewer at once.",
                         "tokens", "invalid_value");
    }
  }
  text->append(stream->finish());
  return std::nullopt;
}

std::optional<ApiError> detokenize(ServingContext& context, const HttpRequest& http,
                                   const std::atomic<bool>& gone, std::string* answer) {
  if (auto error = check_body_headers(http)) return error;
  DetokenizeRequest request;
  if (auto error = parse_detokenize_request(http.body, &request)) return error;
  context.unknown_fields.note(request.unknown);
  if (auto error = check_model(context, request.model)) return error;
  if (auto error = check_token_ids(context, request.tokens, "tokens")) return error;
  std::string text;
  if (auto error = decode_within(*context.tokenizer, request, gone, &text)) return error;
  *answer = "{\"prompt\":" + json_string(text) + "}";
  return std::nullopt;
}

using TextEndpoint = std::optional<ApiError> (*)(ServingContext&, const HttpRequest&,
                                                 const std::atomic<bool>& gone, std::string*);

void add(Router& router, const char* path, std::shared_ptr<ServingContext> context,
         const std::shared_ptr<TextWorkers>& workers, TextEndpoint endpoint) {
  router.add("POST", path,
             off_the_loop(workers, [context, endpoint](const HttpRequest& request,
                                                       std::shared_ptr<HttpResponder> responder,
                                                       const std::atomic<bool>& gone) {
               std::string answer;
               if (const auto error = endpoint(*context, request, gone, &answer))
                 return respond_error(*responder, *error);
               respond_json(*responder, 200, std::move(answer));
             }));
}

}  // namespace

void add_tokenizer_endpoints(Router& router, std::shared_ptr<ServingContext> context,
                             const std::shared_ptr<TextWorkers>& workers) {
  for (const char* path : {"/tokenize", "/v1/tokenize"})
    add(router, path, context, workers, tokenize);
  for (const char* path : {"/detokenize", "/v1/detokenize"})
    add(router, path, context, workers, detokenize);
}

}  // namespace conclave::coordinator
