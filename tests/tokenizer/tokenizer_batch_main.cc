// tokenizer_batch: a JSON array of {"folder", "texts", "ids"} on stdin; for each a line with what the folder's tokenizer
// makes of them, or the error: what tests/peer/tokenizers_test.py compares.

#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "coordinator/tokenizer/tokenizer.h"

namespace {

using conclave::coordinator::Tokenizer;
using nlohmann::json;

json answer(const json& job) {
  const auto loaded = Tokenizer::from_folder(job["folder"].get<std::string>());
  if (!loaded.ok()) return {{"error", std::string(loaded.status().message())}};
  const Tokenizer& tokenizer = **loaded;
  json out = {{"with", json::array()}, {"without", json::array()}, {"shown", json::array()}, {"skipped", json::array()}};
  for (const json& text : job["texts"]) {
    out["with"].push_back(tokenizer.encode(text.get<std::string>(), true));
    out["without"].push_back(tokenizer.encode(text.get<std::string>(), false));
  }
  for (const json& item : job["ids"]) {
    const auto ids = item.get<std::vector<int32_t>>();
    out["shown"].push_back(tokenizer.decode(ids, false));
    out["skipped"].push_back(tokenizer.decode(ids, true));
  }
  out["named"] = tokenizer.special_tokens();
  out["eos"] = tokenizer.eos_id().has_value() ? json(*tokenizer.eos_id()) : json();
  return out;
}

}  // namespace

int main() {
  const json jobs = json::parse(std::cin, nullptr, /*allow_exceptions=*/false);
  if (!jobs.is_array()) {
    std::fputs("tokenizer_batch: stdin holds no JSON array\n", stderr);
    return 2;
  }
  for (const json& job : jobs) std::puts(answer(job).dump().c_str());
  return 0;
}
