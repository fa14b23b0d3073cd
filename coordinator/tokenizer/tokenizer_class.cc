#include "coordinator/tokenizer/tokenizer_class.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace conclave::coordinator {
namespace {

// How the classes cut text into words (Qwen2, Qwen3.5).
constexpr const char* kQwen2Words =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kQwen35Words =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

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
       {{"unk_token", kEnd}, {"bos_token", kEnd}, {"eos_token", kEnd}, {"pad_token", "<|padding|>"}},
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

Json byte_level(bool prefix_space, bool cut_words) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", prefix_space},
          {"trim_offsets", true},
          {"use_regex", cut_words}};
}

Json words_then_bytes(const char* pattern, bool prefix_space) {
  Json split = {{"type", "Split"},
                {"pattern", {{"Regex", pattern}}},
                {"behavior", "Isolated"},
                {"invert", false}};
  return {{"type", "Sequence"},
          {"pretokenizers", Json::array({split, byte_level(prefix_space, false)})}};
}

Json replace(const char* from, const char* to) {
  return {{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
}

struct Parts {
  Json model = Json::object();  // options beside vocab and merges
  Json normalizer;
  Json pre_tokenizer;
  Json decoder = byte_level(true, true);
};

Parts metaspace_parts(bool prefix_space, bool legacy) {
  Parts parts;
  parts.model = {{"fuse_unk", true}, {"byte_fallback", true}};
  const char* scheme = !prefix_space ? "never" : legacy ? "always" : "first";
  parts.pre_tokenizer = {{"type", "Metaspace"},
                         {"replacement", "▁"},
                         {"prepend_scheme", scheme},
                         {"split", false}};
  Json steps = Json::array({replace("▁", " "), {{"type", "ByteFallback"}}, {{"type", "Fuse"}}});
  if (prefix_space) {
    steps.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  }
  parts.decoder = {{"type", "Sequence"}, {"decoders", steps}};
  return parts;
}

Parts gemma_parts(const std::string& unknown) {
  Parts parts = metaspace_parts(false, false);
  parts.model["unk_token"] = unknown;
  parts.normalizer = replace(" ", "▁");
  parts.pre_tokenizer = {{"type", "Split"},
                         {"pattern", {{"String", " "}}},
                         {"behavior", "MergedWithPrevious"},
                         {"invert", false}};
  return parts;
}

Parts byte_level_parts(const std::string& name, bool prefix_space) {
  Parts parts;
  if (name != "GPT2Tokenizer") parts.normalizer = {{"type", "NFC"}};
  if (name == "Qwen2Tokenizer") {
    parts.pre_tokenizer = words_then_bytes(kQwen2Words, prefix_space);
  } else if (name == "Qwen3_5Tokenizer") {
    parts.pre_tokenizer = words_then_bytes(kQwen35Words, prefix_space);
  } else if (name == "CohereTokenizer") {
    const Json digits = {{"type", "Digits"}, {"individual_digits", true}};
    parts.pre_tokenizer = {{"type", "Sequence"},
                           {"pretokenizers", Json::array({digits, byte_level(prefix_space, true)})}};
  } else {
    parts.pre_tokenizer = byte_level(prefix_space, true);
  }
  return parts;
}

absl::StatusOr<bool> setting(const SettingsFields& settings, const char* key, bool fallback) {
  const SettingsField* field = settings.find(key);
  if (field == nullptr) return fallback;
  return bool_field(Json{{key, field->value}}, key, fallback, field->file);
}

// Gemma's unknown token is part of its model.
std::string unknown_token(const SettingsFields& settings) {
  const SettingsField* field = settings.find("unk_token");
  if (field == nullptr) return "<unk>";
  if (field->value.is_object()) return field->value.value("content", "");
  return field->value.is_string() ? field->value.get<std::string>() : "";
}

absl::StatusOr<Parts> parts_of(const std::string& name, const SettingsFields& settings) {
  const bool llama = name == "LlamaTokenizer";
  ASSIGN_OR_RETURN(const bool prefix_space, setting(settings, "add_prefix_space", llama));
  ASSIGN_OR_RETURN(const bool legacy, setting(settings, "legacy", false));
  if (llama) return metaspace_parts(prefix_space, legacy);
  if (name == "GemmaTokenizer") return gemma_parts(unknown_token(settings));
  return byte_level_parts(name, prefix_space);
}

}  // namespace

TokenizerClass choose_tokenizer_class(const ClassHints& hints, std::string* note) {
  const std::string& named = hints.tokenizer_class.empty() ? hints.model_class : hints.tokenizer_class;
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

absl::Status rebuild_by_class(const TokenizerClass& chosen, const SettingsFields& settings,
                              Json* file) {
  if (chosen.follows_file()) return absl::OkStatus();
  ASSIGN_OR_RETURN(Parts parts, parts_of(chosen.name, settings));
  const auto model = file->find("model");
  if (model != file->end() && model->is_object()) {
    for (const char* key : {"type", "vocab", "merges"}) {
      const auto it = model->find(key);
      if (it != model->end()) parts.model[key] = std::move(*it);
    }
    *model = std::move(parts.model);
  }
  (*file)["normalizer"] = std::move(parts.normalizer);
  (*file)["pre_tokenizer"] = std::move(parts.pre_tokenizer);
  (*file)["decoder"] = std::move(parts.decoder);
  // They come with the settings' tokens (TokenizerSettings), which may leave some out.
  file->erase("added_tokens");
  if (chosen.own_post_processor) file->erase("post_processor");
  return absl::OkStatus();
}

}  // namespace conclave::coordinator
