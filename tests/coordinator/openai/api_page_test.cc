// docs/api.md says what the code does: its tables of fields and limits are those of the code.
// CONCLAVE_WRITE_DOCS=1 writes them into the page.

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "coordinator/http/http_server.h"
#include "coordinator/openai/request_fields.h"
#include "coordinator/openai/requests.h"
#include "coordinator/openai/text_workers.h"

namespace conclave::coordinator {
namespace {

std::string page_path() { return std::string(CONCLAVE_SOURCE_DIR) + "/docs/api.md"; }

std::string read_page() {
  std::ifstream file(page_path());
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string endpoints_of(EndpointSet set) {
  if (set == kEverywhere) return "all";
  std::string out;
  const std::pair<Endpoint, const char*> kNames[] = {{Endpoint::kChat, "chat"},
                                                     {Endpoint::kCompletion, "completions"},
                                                     {Endpoint::kTokenize, "tokenize"},
                                                     {Endpoint::kDetokenize, "detokenize"}};
  for (const auto& [endpoint, name] : kNames) {
    if ((set & static_cast<EndpointSet>(endpoint)) == 0) continue;
    out += (out.empty() ? "" : ", ") + std::string(name);
  }
  return out;
}

std::string rows_of(FieldUse use) {
  std::string out;
  for (const RequestFields& row : request_fields()) {
    if (row.use != use) continue;
    out += "| `" + std::string(row.names) + "` | " + endpoints_of(row.endpoints) + " | " +
           std::string(row.note);
    if (use == FieldUse::kRefused)
      out += " | " + (row.neutral.empty() ? "" : "`" + std::string(row.neutral) + "`");
    out += " |\n";
  }
  return out;
}

std::string fields_table() {
  const std::string head = "| fields | at | |\n|---|---|---|\n";
  return "Obeyed:\n\n" + head + rows_of(FieldUse::kHonoured) +
         "\nObeyed where the model's chat template can, else refused:\n\n" + head +
         rows_of(FieldUse::kTemplate) + "\nAccepted without effect:\n\n" + head +
         rows_of(FieldUse::kNoEffect) +
         "\nRefused with 400 and `param`, but for `null` and the values of the last column:\n\n" +
         "| fields | at | why, or what to do | let pass |\n|---|---|---|---|\n" +
         rows_of(FieldUse::kRefused);
}

std::string mib(size_t bytes) { return std::to_string(bytes >> 20) + " MiB"; }

std::string limits_table() {
  const HttpServerOptions http;
  const TextQueueLimits texts;
  const std::pair<std::string, std::string> kRows[] = {
      {"`n`, and `n` times the prompts of a request", std::to_string(kMaxChoices)},
      {"`stop` texts", std::to_string(kMaxStopStrings) + ", of " +
                           std::to_string(kMaxStopStringBytes) + " bytes each"},
      {"`stop_token_ids`", std::to_string(kMaxStopTokenIds)},
      {"entries of `logit_bias`", std::to_string(kMaxLogitBiases)},
      {"`top_logprobs` of chat, `logprobs` of completions", std::to_string(kMaxTopLogprobs)},
      {"memory of an answer that is not streamed (answers x tokens x logprobs)",
       mib(kMaxAnswerBytes)},
      {"depth of the JSON", std::to_string(kMaxJsonDepth) + " levels"},
      {"a body", mib(http.max_body_bytes)},
      {"a request's head", std::to_string(http.max_header_bytes >> 10) + " KiB"},
      {"tokens that `/tokenize` answers", std::to_string(kMaxTokenizedTokens)},
      {"text that `/detokenize` answers", mib(kMaxDetokenizedBytes)},
      {"bodies above " + std::to_string(kInlineBodyBytes >> 10) + " KiB that wait to be read",
       std::to_string(texts.jobs) + " and " + mib(texts.bytes) + ", half of that for one key"}};
  std::string out = "| limit | |\n|---|---|\n";
  for (const auto& [what, limit] : kRows) out += "| " + what + " | " + limit + " |\n";
  return out;
}

void expect_section(const std::string& name, const std::string& wanted) {
  const std::string begin = "<!-- " + name + ": written by api_page_test -->\n";
  const std::string end = "<!-- end of " + name + " -->";
  std::string page = read_page();
  const size_t from = page.find(begin);
  const size_t to = page.find(end);
  ASSERT_TRUE(from != std::string::npos && to != std::string::npos && from < to) << name;
  const size_t at = from + begin.size();
  if (std::getenv("CONCLAVE_WRITE_DOCS") != nullptr) {
    page.replace(at, to - at, wanted);
    std::ofstream(page_path()) << page;
    return;
  }
  EXPECT_EQ(page.substr(at, to - at), wanted)
      << "run the test with CONCLAVE_WRITE_DOCS=1 to write the table";
}

TEST(ApiPage, ListsTheFields) { expect_section("fields", fields_table()); }

TEST(ApiPage, ListsTheLimits) { expect_section("limits", limits_table()); }

}  // namespace
}  // namespace conclave::coordinator
