#include "coordinator/tokenizer/tokenizer_class.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "coordinator/tokenizer/json_fields.h"

namespace conclave::coordinator {
namespace {

const std::vector<TokenizerClass>& known_classes() {
  constexpr const char* kEnd = "<|endoftext|>";
  static const std::vector<TokenizerClass> classes = {
      {"Qwen2Tokenizer",
       {{"unk_token", kEnd}, {"bos_token", ""}, {"eos_token", kEnd}, {"pad_token", kEnd}},
       false,
       TokensAgain::kWithoutFlags},
      {"Qwen3_5Tokenizer",
       {{"unk_token", kEnd}, {"bos_token", ""}, {"eos_token", kEnd}, {"pad_token", kEnd}}},
      {"GPTNeoXTokenizer",
       {{"unk_token", kEnd},
        {"bos_token", kEnd},
        {"eos_token", kEnd},
        {"pad_token", "<|padding|>"}},
       true},
      {"GPT2Tokenizer",
       {{"unk_token", kEnd}, {"bos_token", kEnd}, {"eos_token", kEnd}, {"pad_token", ""}}},
      {"LlamaTokenizer", {{"unk_token", "<unk>"}, {"bos_token", "<s>"}, {"eos_token", "</s>"}}},
      {"GemmaTokenizer",
       {{"unk_token", "<unk>"},
        {"bos_token", "<bos>"},
        {"eos_token", "<eos>"},
        {"pad_token", "<pad>"},
        {"mask_token", "<mask>"}}},
      {"CohereTokenizer",
       {{"unk_token", "<UNK>"},
        {"bos_token", "<BOS_TOKEN>"},
        {"eos_token", "<|END_OF_TURN_TOKEN|>"},
        {"pad_token", "<PAD>"},
        {"cls_token", "<CLS>"},
        {"sep_token", "<SEP>"},
        {"mask_token", "<MASK_TOKEN>"}},
       false,
       TokensAgain::kAsSpecial},
  };
  return classes;
}

std::string without_fast(const std::string& name) {
  constexpr std::string_view kFast = "Fast";
  const bool fast = name.size() >= kFast.size() &&
                    std::string_view(name).substr(name.size() - kFast.size()) == kFast;
  return fast ? name.substr(0, name.size() - kFast.size()) : name;
}

TokenizerClass class_named(const std::string& name) {
  const auto it = std::find_if(known_classes().begin(), known_classes().end(),
                               [&name](const TokenizerClass& c) { return c.name == name; });
  return it == known_classes().end() ? TokenizerClass() : *it;
}

bool means_file(const std::string& name) {
  constexpr std::string_view kNames[] = {"PreTrainedTokenizer", "TokenizersBackend",
                                         "PythonBackend", "BloomTokenizer"};
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

// The class that transformers registers for a family.
std::string registered_class(std::string model_type) {
  constexpr std::string_view kExtended = "_ext";  // docs/models.md
  if (model_type.size() > kExtended.size() && model_type.ends_with(kExtended)) {
    model_type.resize(model_type.size() - kExtended.size());
  }
  if (model_type == "qwen2_moe" || model_type == "qwen3_moe") return "Qwen2Tokenizer";
  if (model_type == "olmoe") return "GPTNeoXTokenizer";
  return model_type == "mixtral" ? "TokenizersBackend" : "";
}

}  // namespace

TokenizerClass choose_tokenizer_class(const ClassHints& hints, std::string* note) {
  const std::string& named =
      hints.tokenizer_class.empty() ? hints.model_class : hints.tokenizer_class;
  const std::string plain = without_fast(named);
  const std::string registered = registered_class(hints.model_type);
  if (hints.own_code) {
    *note = "auto_map names code of the model's own, which is never run";
  }
  if (!hints.own_code && !named.empty()) {
    // Llama 3's kind: the class would read such a file with the wrong alphabet.
    if (plain == "LlamaTokenizer" && hints.names_byte_level) return {};
    if (registered == "TokenizersBackend") return {};
  }
  if (named.empty()) return hints.has_tokenizer_class ? TokenizerClass() : class_named(registered);
  TokenizerClass chosen = class_named(plain);
  if (chosen.follows_file() && !means_file(plain) && note->empty()) {
    *note = absl::StrCat("tokenizer_class ", in_quotes(named),
                         " is not known here; tokenizer.json alone says how text is cut");
  }
  return chosen;
}

}  // namespace conclave::coordinator
