#ifndef CONCLAVE_CLI_END_OF_TEXT_H_
#define CONCLAVE_CLI_END_OF_TEXT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "coordinator/tokenizer/tokenizer.h"
#include "model/model_spec.h"

namespace conclave::cli {

// Where generation ends by itself: at the tokens that config.json, generation_config.json or the
// tokenizer's eos_token name. Chat fine-tunes often name the end of a turn in one of them alone.
struct EndOfText {
  std::vector<int32_t> ids;        // each once, all in the model's vocabulary
  std::vector<std::string> notes;  // a sentence each: ids that never occur; none at all
};

// tokenizer: nullptr without one (random weights, a folder of weights alone).
EndOfText end_of_text(const model::ModelSpec& spec, const coordinator::Tokenizer* tokenizer);

// For commands that need no more of a tokenizer than its eos_token: nullptr where the folder has none; nullptr and a
// sentence in *note where it cannot be read.
std::shared_ptr<const coordinator::Tokenizer> tokenizer_if_readable(const std::string& folder, std::string* note);

}  // namespace conclave::cli

#endif  // CONCLAVE_CLI_END_OF_TEXT_H_
