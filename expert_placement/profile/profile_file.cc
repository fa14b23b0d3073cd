// How a RoutingProfile is written and read.
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "expert_placement/profile/routing_profile.h"
#include "model/safetensors.h"

namespace conclave::placement {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

absl::Status bad(std::string_view source, const std::string& what) {
  return absl::InvalidArgumentError(
      absl::StrCat(std::string(source), ": ", what, "; expected a routing profile"));
}

ordered_json triples(std::span<const double> matrix, size_t experts, bool upper) {
  ordered_json out = ordered_json::array();
  for (size_t row = 0; row < experts; ++row) {
    for (size_t column = upper ? row : 0; column < experts; ++column) {
      const double count = matrix[row * experts + column];
      if (count != 0) out.push_back({row, column, count});
    }
  }
  return out;
}

absl::StatusOr<ProfileShape> parse_shape(const json& root, std::string_view source) {
  ProfileShape shape;
  const auto layers = root.find("moe_layers");
  if (layers == root.end() || !layers->is_array())
    return bad(source, "\"moe_layers\" must be an array of layer numbers");
  for (const json& layer : *layers) {
    if (!layer.is_number_integer() || layer.get<int64_t>() < 0 || layer.get<int64_t>() > 1 << 20 ||
        (!shape.moe_layers.empty() && layer.get<int64_t>() <= shape.moe_layers.back())) {
      return bad(source, "\"moe_layers\" must hold ascending layer numbers");
    }
    shape.moe_layers.push_back(layer.get<int32_t>());
  }
  for (const auto& [key, field] :
       {std::pair{"experts", &shape.experts}, std::pair{"top_k", &shape.top_k}}) {
    const auto it = root.find(key);
    if (it == root.end() || !it->is_number_integer() || it->get<int64_t>() < 1 ||
        it->get<int64_t>() > 65535) {
      return bad(source, absl::StrCat("\"", key, "\" must be an integer from 1 to 65535"));
    }
    *field = it->get<int32_t>();
  }
  return shape;
}

// Calls put(row, column, count) for each triple.
template <typename Put>
absl::Status parse_triples(const json& list, int32_t experts, const std::string& where,
                           std::string_view source, Put put) {
  if (!list.is_array()) return bad(source, where + " must be an array of [row, column, count]");
  for (const json& item : list) {
    if (!item.is_array() || item.size() != 3 || !item[0].is_number_integer() ||
        !item[1].is_number_integer() || !item[2].is_number()) {
      return bad(source, where + " must hold [row, column, count]");
    }
    const int64_t row = item[0].get<int64_t>();
    const int64_t column = item[1].get<int64_t>();
    if (row < 0 || row >= experts || column < 0 || column >= experts) {
      return bad(source, absl::StrCat(where, " names an expert that is not in 0..", experts - 1));
    }
    put(static_cast<int32_t>(row), static_cast<int32_t>(column), item[2].get<double>());
  }
  return absl::OkStatus();
}

absl::Status parse_layer(const json& root, int32_t layer, std::string_view source,
                         RoutingProfile* profile) {
  const auto at = static_cast<size_t>(layer);
  const json& loads = root["loads"][at];
  if (!loads.is_array() || loads.size() != static_cast<size_t>(profile->experts())) {
    return bad(source,
               absl::StrCat("loads[", layer, "] must hold ", profile->experts(), " counts"));
  }
  for (int32_t expert = 0; expert < profile->experts(); ++expert) {
    const json& count = loads[static_cast<size_t>(expert)];
    if (!count.is_number())
      return bad(source, absl::StrCat("loads[", layer, "][", expert, "] is not a number"));
    profile->add_load(layer, expert, count.get<double>());
  }
  RETURN_IF_ERROR(parse_triples(root["pairs"][at], profile->experts(),
                                absl::StrCat("pairs[", layer, "]"), source,
                                [&](int32_t a, int32_t b, double n) {
                                  if (a != b) profile->add_pair(layer, a, b, n);
                                }));
  if (layer + 1 == profile->layers()) return absl::OkStatus();
  return parse_triples(
      root["transitions"][at], profile->experts(), absl::StrCat("transitions[", layer, "]"), source,
      [&](int32_t from, int32_t to, double n) { profile->add_transition(layer, from, to, n); });
}

std::span<const std::byte> bytes_of(const auto& values) { return std::as_bytes(std::span(values)); }

absl::StatusOr<std::span<const std::byte>> tensor(const model::SafetensorsFile& file,
                                                  const std::string& name, const std::string& dtype,
                                                  const std::vector<int64_t>& shape) {
  const auto it = file.header().tensors.find(name);
  if (it == file.header().tensors.end())
    return bad(file.path(), absl::StrCat("has no tensor \"", name, "\""));
  if (it->second.dtype != dtype || it->second.shape != shape) {
    return bad(file.path(),
               absl::StrCat("tensor \"", name, "\" does not have the shape the metadata says"));
  }
  return file.data(it->second);
}

template <typename T>
void copy_to(std::span<const std::byte> bytes, std::vector<T>* out) {
  out->resize(bytes.size() / sizeof(T));
  if (!bytes.empty()) std::memcpy(out->data(), bytes.data(), bytes.size());
}

}  // namespace

std::string RoutingProfile::to_json() const {
  ordered_json root{{"version", 1},
                    {"id", id()},
                    {"model_fingerprint", model_fingerprint_},
                    {"moe_layers", shape_.moe_layers},
                    {"experts", shape_.experts},
                    {"top_k", shape_.top_k},
                    {"tokens", tokens_},
                    {"window_seconds", window_.seconds},
                    {"ageing_factor", window_.ageing_factor}};
  const auto experts = static_cast<size_t>(shape_.experts);
  ordered_json loads_json = ordered_json::array(), transitions_json = ordered_json::array(),
               pairs_json = ordered_json::array();
  for (int32_t layer = 0; layer < layers(); ++layer) {
    loads_json.push_back(std::vector<double>(loads(layer).begin(), loads(layer).end()));
    pairs_json.push_back(triples(pairs(layer), experts, /*upper=*/true));
    if (layer + 1 < layers())
      transitions_json.push_back(triples(transitions(layer), experts, /*upper=*/false));
  }
  root["loads"] = std::move(loads_json);
  root["transitions"] = std::move(transitions_json);
  root["pairs"] = std::move(pairs_json);
  return root.dump();
}

absl::StatusOr<RoutingProfile> RoutingProfile::from_json(std::string_view text,
                                                         std::string_view source) {
  const json root = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (root.is_discarded() || !root.is_object()) return bad(source, "is not a JSON object");
  if (!root.contains("version") || root["version"] != 1)
    return bad(source, "\"version\" must be 1");
  ASSIGN_OR_RETURN(ProfileShape shape, parse_shape(root, source));
  ASSIGN_OR_RETURN(RoutingProfile profile, create(std::move(shape)));
  const auto layers = static_cast<size_t>(profile.layers());
  for (const auto& [key, entries] : {std::pair{"loads", layers}, std::pair{"pairs", layers},
                                     std::pair{"transitions", layers - 1}}) {
    if (!root.contains(key) || !root[key].is_array() || root[key].size() != entries) {
      return bad(source, absl::StrCat("\"", key, "\" must hold one entry for each of ", entries,
                                      " layers"));
    }
  }
  if (!root.contains("tokens") || !root["tokens"].is_number())
    return bad(source, "\"tokens\" must be a number");
  profile.tokens_ = root["tokens"].get<double>();
  for (int32_t layer = 0; layer < profile.layers(); ++layer) {
    RETURN_IF_ERROR(parse_layer(root, layer, source, &profile));
  }
  if (root.contains("model_fingerprint") && root["model_fingerprint"].is_string()) {
    profile.model_fingerprint_ = root["model_fingerprint"].get<std::string>();
  }
  if (root.contains("window_seconds") && root["window_seconds"].is_number())
    profile.window_.seconds = root["window_seconds"];
  if (root.contains("ageing_factor") && root["ageing_factor"].is_number())
    profile.window_.ageing_factor = root["ageing_factor"];
  RETURN_IF_ERROR(profile.check_consistent(source));
  return profile;
}

absl::Status RoutingProfile::save(const std::string& path, int mode) const {
  if (absl::EndsWith(path, ".safetensors")) return save_tensors(path, mode);
  return write_file_atomically(path, to_json(), mode);
}

absl::StatusOr<RoutingProfile> RoutingProfile::load(const std::string& path) {
  if (absl::EndsWith(path, ".safetensors")) return load_tensors(path);
  ASSIGN_OR_RETURN(const std::string text, read_file(path));
  return from_json(text, path);
}

absl::Status RoutingProfile::save_tensors(const std::string& path, int mode) const {
  const int64_t layers = this->layers(), experts = shape_.experts, rows = samples_.rows();
  const std::vector<model::TensorToWrite> tensors = {
      {"loads", "F64", {layers, experts}, bytes_of(loads_)},
      {"transitions", "F64", {layers - 1, experts, experts}, bytes_of(transitions_)},
      {"pairs", "F64", {layers, experts, experts}, bytes_of(pairs_)},
      {"sample_experts", "U16", {rows, layers, shape_.top_k}, bytes_of(samples_.chosen)},
      {"sample_sequence", "I32", {rows}, bytes_of(samples_.sequence)}};
  const json head{{"version", 1},
                  {"model_fingerprint", model_fingerprint_},
                  {"moe_layers", shape_.moe_layers},
                  {"experts", experts},
                  {"top_k", shape_.top_k},
                  {"tokens", tokens_},
                  {"window_seconds", window_.seconds},
                  {"ageing_factor", window_.ageing_factor}};
  return model::write_safetensors(path, tensors, {{"routing_profile", head.dump()}}, mode);
}

absl::StatusOr<RoutingProfile> RoutingProfile::load_tensors(const std::string& path) {
  ASSIGN_OR_RETURN(const auto file, model::SafetensorsFile::open(path));
  const auto meta = file->header().metadata.find("routing_profile");
  if (meta == file->header().metadata.end())
    return bad(path, "has no metadata \"routing_profile\"");
  const json head = json::parse(meta->second, nullptr, /*allow_exceptions=*/false);
  if (!head.is_object() || !head.contains("tokens") || !head["tokens"].is_number())
    return bad(path, "has damaged metadata");
  ASSIGN_OR_RETURN(ProfileShape shape, parse_shape(head, path));
  ASSIGN_OR_RETURN(RoutingProfile profile, create(std::move(shape)));
  const int64_t layers = profile.layers(), experts = profile.experts();
  ASSIGN_OR_RETURN(const auto loads, tensor(*file, "loads", "F64", {layers, experts}));
  ASSIGN_OR_RETURN(const auto transitions,
                   tensor(*file, "transitions", "F64", {layers - 1, experts, experts}));
  ASSIGN_OR_RETURN(const auto pairs, tensor(*file, "pairs", "F64", {layers, experts, experts}));
  copy_to(loads, &profile.loads_);
  copy_to(transitions, &profile.transitions_);
  copy_to(pairs, &profile.pairs_);
  profile.tokens_ = head["tokens"];
  const auto text = head.find("model_fingerprint");
  if (text != head.end() && text->is_string())
    profile.model_fingerprint_ = text->get<std::string>();
  if (head.contains("window_seconds") && head["window_seconds"].is_number())
    profile.window_.seconds = head["window_seconds"];
  if (head.contains("ageing_factor") && head["ageing_factor"].is_number())
    profile.window_.ageing_factor = head["ageing_factor"];
  const auto entry = file->header().tensors.find("sample_sequence");
  const int64_t rows = entry == file->header().tensors.end() || entry->second.shape.empty()
                           ? 0
                           : entry->second.shape[0];
  if (rows > 0) {
    ASSIGN_OR_RETURN(const auto chosen,
                     tensor(*file, "sample_experts", "U16", {rows, layers, profile.top_k()}));
    ASSIGN_OR_RETURN(const auto sequence, tensor(*file, "sample_sequence", "I32", {rows}));
    copy_to(chosen, &profile.samples_.chosen);
    copy_to(sequence, &profile.samples_.sequence);
    for (uint16_t id : profile.samples_.chosen) {
      if (id >= experts) return bad(path, "a sampled row names an expert that is not there");
    }
  }
  RETURN_IF_ERROR(profile.check_consistent(path));
  return profile;
}

}  // namespace conclave::placement
