#ifndef CONCLAVE_TESTS_TOKENIZER_GOLDEN_FILES_H_
#define CONCLAVE_TESTS_TOKENIZER_GOLDEN_FILES_H_

// Reading the golden tokenizers; a missing or broken golden file fails the test that asks for it.

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "coordinator/tokenizer/tokenizer.h"

namespace conclave::coordinator {

inline const std::vector<std::string>& golden_names() {
  static const std::vector<std::string> names = {"deepseek_v3",    "gpt2_nfc_legacy_merges",
                                                 "granite_digits", "mixtral_prepend",
                                                 "o200k",          "qwen2"};
  return names;
}

std::string golden_folder(const std::string& name);
std::string demo_folder();
nlohmann::json read_json(const std::string& path);
std::shared_ptr<const Tokenizer> load_folder(const std::string& folder);
std::shared_ptr<const Tokenizer> load_text(const std::string& tokenizer_json,
                                           const std::string& config_json = "");

// A tokenizer with one token for each character of `alphabet` (ids from 0) and the given other
// parts, a JSON object that replaces top-level keys; its "model" replaces keys of the model.
std::shared_ptr<const Tokenizer> character_tokenizer(const std::string& alphabet,
                                                     const std::string& parts);
std::string character_tokenizer_json(const std::string& alphabet, const std::string& parts);

// Every tokenizer there is: the golden ones, the demo model's, those of features.json.
struct NamedTokenizer {
  std::string name;
  std::shared_ptr<const Tokenizer> tokenizer;
};
std::vector<NamedTokenizer> all_tokenizers();

}  // namespace conclave::coordinator

#endif  // CONCLAVE_TESTS_TOKENIZER_GOLDEN_FILES_H_
