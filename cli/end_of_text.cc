#include "cli/end_of_text.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "model/token_ids.h"

namespace conclave::cli {

EndOfText end_of_text(const model::ModelSpec& spec, const coordinator::Tokenizer* tokenizer) {
  EndOfText out;
  out.ids = spec.eos_ids;
  std::vector<int32_t> outside;
  if (tokenizer != nullptr) {
    std::vector<int32_t> named;
    if (const auto id = tokenizer->eos_id()) named.push_back(*id);
    model::take_outside(&named, spec.vocab, &outside);
    model::add_missing(named, &out.ids);
  }
  const std::string ends = absl::StrCat(", but the model's vocabulary ends at ", spec.vocab - 1, ": generation never ends there");
  if (!spec.eos_outside.empty()) {
    out.notes.push_back(absl::StrCat("eos_token_id names ", absl::StrJoin(spec.eos_outside, ", "), ends));
  }
  if (!outside.empty()) {
    out.notes.push_back(absl::StrCat("the tokenizer's eos_token \"", tokenizer->eos_token(), "\" is token ", outside.front(), ends));
  }
  if (out.ids.empty()) {
    out.notes.push_back("config.json, generation_config.json and the tokenizer name no end-of-text token: "
                        "generation ends at stop strings and max_tokens alone");
  }
  return out;
}

std::shared_ptr<const coordinator::Tokenizer> tokenizer_if_readable(const std::string& folder, std::string* note) {
  auto tokenizer = coordinator::Tokenizer::from_folder(folder);
  if (tokenizer.ok()) return *std::move(tokenizer);
  if (!absl::IsNotFound(tokenizer.status())) {
    *note = absl::StrCat("the tokenizer cannot be read, so its eos_token does not end generation: ", tokenizer.status().message());
  }
  return nullptr;
}

}  // namespace conclave::cli
