#include "coordinator/tokenizer/class_parts.h"

#include <string>
#include <utility>

namespace conclave::coordinator {
namespace {

// How the classes cut text into words (Qwen2, Qwen3.5).
constexpr const char* kQwen2Words =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kQwen35Words =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

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
  parts.pre_tokenizer = {
      {"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", scheme}, {"split", false}};
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
    parts.pre_tokenizer = {
        {"type", "Sequence"},
        {"pretokenizers", Json::array({digits, byte_level(prefix_space, true)})}};
  } else {
    parts.pre_tokenizer = byte_level(prefix_space, true);
  }
  return parts;
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
  parts.pre_tokenizer = {
      {"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", scheme}, {"split", false}};
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
    parts.pre_tokenizer = {
        {"type", "Sequence"},
        {"pretokenizers", Json::array({digits, byte_level(prefix_space, true)})}};
  } else {
    parts.pre_tokenizer = byte_level(prefix_space, true);
  }
  return parts;
}

Parts parts_of(const std::string& name, const TokenizerSettings& settings) {
  const bool llama = name == "LlamaTokenizer";
  const bool prefix_space = settings.add_prefix_space.value_or(llama);
  if (llama) return metaspace_parts(prefix_space, settings.legacy);
  if (name == "GemmaTokenizer") {
    const auto unknown = settings.named.find("unk_token");
    return gemma_parts(unknown == settings.named.end() ? "" : unknown->second);
  }
  return byte_level_parts(name, prefix_space);
}

}  // namespace

void rebuild_by_class(const TokenizerClass& chosen, const TokenizerSettings& settings, Json* file) {
  if (chosen.follows_file()) return;
  Parts parts = parts_of(chosen.name, settings);
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
}

}  // namespace conclave::coordinator
