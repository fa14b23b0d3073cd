#include "tests/tokenizer/golden_files.h"

#include <fstream>
#include <iterator>

#include "coordinator/tokenizer/unicode.h"
#include "gtest/gtest.h"

namespace conclave::coordinator {

std::string golden_folder(const std::string& name) {
  return std::string(CONCLAVE_SOURCE_DIR) + "/tests/golden/tokenizers/" + name;
}

std::string demo_folder() { return std::string(CONCLAVE_SOURCE_DIR) + "/assets/demo-moe"; }

nlohmann::json read_json(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in.good()) << path;
  const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
  EXPECT_FALSE(json.is_discarded()) << path;
  return json;
}

std::shared_ptr<const Tokenizer> load_folder(const std::string& folder) {
  auto tokenizer = Tokenizer::from_folder(folder);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return tokenizer.ok() ? *tokenizer : nullptr;
}

std::shared_ptr<const Tokenizer> load_text(const std::string& tokenizer_json,
                                           const std::string& config_json) {
  auto tokenizer = Tokenizer::from_json(tokenizer_json, config_json, "test");
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return tokenizer.ok() ? *tokenizer : nullptr;
}

std::string character_tokenizer_json(const std::string& alphabet, const std::string& parts) {
  nlohmann::json vocab = nlohmann::json::object();
  for (size_t at = 0; at < alphabet.size();) {
    const size_t length = char_bytes(alphabet[at]);
    const size_t id = vocab.size();
    vocab[alphabet.substr(at, length)] = id;
    at += length;
  }
  nlohmann::json json = {{"added_tokens", nlohmann::json::array()},
                         {"model", {{"type", "BPE"}, {"vocab", vocab}}}};
  json["model"]["merges"] = nlohmann::json::array();
  json.merge_patch(nlohmann::json::parse(parts));
  return json.dump();
}

std::shared_ptr<const Tokenizer> character_tokenizer(const std::string& alphabet,
                                                     const std::string& parts) {
  return load_text(character_tokenizer_json(alphabet, parts));
}

std::vector<NamedTokenizer> all_tokenizers() {
  std::vector<NamedTokenizer> all;
  for (const std::string& name : golden_names()) {
    all.push_back({name, load_folder(golden_folder(name))});
  }
  all.push_back({"demo-moe", load_folder(demo_folder())});
  const nlohmann::json features = read_json(golden_folder("features.json"));
  for (size_t i = 0; i < features.size(); ++i) {
    all.push_back(
        {"features[" + std::to_string(i) + "]", load_text(features[i]["tokenizer"].dump())});
  }
  return all;
}

}  // namespace conclave::coordinator
