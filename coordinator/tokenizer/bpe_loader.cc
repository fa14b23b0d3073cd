// Reading the "model" of a tokenizer file into a BpeModel.

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"
#include "coordinator/tokenizer/bpe_model.h"
#include "coordinator/tokenizer/unicode.h"

namespace conclave::coordinator {
namespace {

constexpr size_t kIndexedChars = 0x10000;

std::string byte_token_name(unsigned byte) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string name = "<0x";
  name += kHex[byte >> 4];
  name += kHex[byte & 15];
  return name + ">";
}

}  // namespace

absl::StatusOr<std::unique_ptr<const BpeModel>> BpeModel::from_json(const Json& json,
                                                                    const std::string& where) {
  if (!json.is_object()) return bad_file(where, "must be an object; the file has no model");
  // Files from before 2020 leave the type out; a list of merges then says that it is BPE.
  ASSIGN_OR_RETURN(std::string type, string_field(json, "type", "", where));
  if (type.empty()) type = json.contains("merges") ? "BPE" : "(none)";
  if (type != "BPE") {
    return bad_file(where, absl::StrCat("the tokenizer model ", in_quotes(type),
                                        " is not supported, only BPE; export the tokenizer as BPE "
                                        "or use a model with a BPE tokenizer"));
  }
  auto model = std::make_unique<BpeModel>();
  RETURN_IF_ERROR(model->load_vocab(json, where));
  RETURN_IF_ERROR(model->load_options(json, where));
  RETURN_IF_ERROR(model->load_merges(json, where));
  model->index_characters();
  model->measure_tokens();
  return model;
}

absl::Status BpeModel::load_options(const Json& json, const std::string& where) {
  ASSIGN_OR_RETURN(fuse_unknown_, bool_field(json, "fuse_unk", false, where));
  ASSIGN_OR_RETURN(byte_fallback_, bool_field(json, "byte_fallback", false, where));
  ASSIGN_OR_RETURN(ignore_merges_, bool_field(json, "ignore_merges", false, where));
  ASSIGN_OR_RETURN(prefix_, string_field(json, "continuing_subword_prefix", "", where));
  ASSIGN_OR_RETURN(suffix_, string_field(json, "end_of_word_suffix", "", where));
  ASSIGN_OR_RETURN(const std::string unknown, string_field(json, "unk_token", "", where));
  // One that is not in the vocabulary is harmless as long as every character has a token, which is
  // why such files are in use; an unknown character is then dropped.
  if (!unknown.empty()) unknown_id_ = id_of(unknown);
  return absl::OkStatus();
}

absl::Status BpeModel::load_vocab(const Json& json, const std::string& where) {
  const auto vocab = json.find("vocab");
  if (vocab == json.end() || !vocab->is_object()) {
    return bad_file(where, "\"vocab\" must be an object of token: id");
  }
  ids_.reserve(vocab->size());
  int32_t highest = -1;
  for (const auto& [token, id] : vocab->items()) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > uint64_t{kMaxId}) {
      return bad_file(
          where, absl::StrCat("the id of ", in_quotes(token), " must be a whole number from 0 to ",
                              kMaxId, ", not ",
                              in_quotes(id.dump(-1, ' ', true, Json::error_handler_t::replace))));
    }
    const auto value = static_cast<int32_t>(id.get<uint64_t>());
    ids_.insert_or_assign(token, value);
    highest = std::max(highest, value);
  }
  // The map does not change any more, so pointers to its keys stay good.
  tokens_.assign(static_cast<size_t>(highest + 1), nullptr);
  for (const auto& [token, id] : ids_) {
    const std::string*& slot = tokens_[static_cast<size_t>(id)];
    // Two tokens may share an id; it then reads as the one that sorts first.
    if (slot == nullptr || token < *slot) slot = &token;
  }
  for (unsigned b = 0; b < byte_tokens_.size(); ++b) {
    byte_tokens_[b] = id_of(byte_token_name(b)).value_or(-1);
  }
  return absl::OkStatus();
}

absl::Status BpeModel::load_merges(const Json& json, const std::string& where) {
  ASSIGN_OR_RETURN(const Json* list, array_field(json, "merges", where));
  if (list == nullptr) return absl::OkStatus();
  merges_.reserve(list->size());
  for (size_t i = 0; i < list->size(); ++i) {
    const Json& item = (*list)[i];
    const auto place = [&] { return absl::StrCat(where, ".merges[", i, "]"); };
    if (item.is_array() && item.size() == 2 && item[0].is_string() && item[1].is_string()) {
      RETURN_IF_ERROR(add_merge(item[0].get_ref<const std::string&>(),
                                item[1].get_ref<const std::string&>(), place()));
      continue;
    }
    if (!item.is_string()) return bad_file(place(), "must be \"a b\" or [\"a\", \"b\"]");
    const std::string_view text = item.get_ref<const std::string&>();
    if (text.substr(0, 8) == "#version") continue;
    const size_t space = text.find(' ');
    if (space == std::string_view::npos || text.find(' ', space + 1) != std::string_view::npos) {
      return bad_file(place(),
                      absl::StrCat(in_quotes(text), " must be two tokens with one space between"));
    }
    RETURN_IF_ERROR(add_merge(text.substr(0, space), text.substr(space + 1), place()));
  }
  return absl::OkStatus();
}

absl::Status BpeModel::add_merge(std::string_view left, std::string_view right,
                                 const std::string& where) {
  const auto missing = [&](std::string_view token) {
    return bad_file(where, absl::StrCat("the token ", in_quotes(token), " is not in the vocab"));
  };
  const std::optional<int32_t> left_id = id_of(left);
  if (!left_id.has_value()) return missing(left);
  const std::optional<int32_t> right_id = id_of(right);
  if (!right_id.has_value()) return missing(right);
  std::string merged(left);
  merged += right.substr(std::min(prefix_.size(), right.size()));
  const std::optional<int32_t> id = id_of(merged);
  if (!id.has_value()) return missing(merged);
  const uint64_t key =
      uint64_t{static_cast<uint32_t>(*left_id)} << 32 | static_cast<uint32_t>(*right_id);
  merges_.insert_or_assign(key, Merge{static_cast<uint32_t>(merge_count_++), *id});
  return absl::OkStatus();
}

void BpeModel::index_characters() {
  char_ids_.assign(kIndexedChars, -1);
  for (const auto& [token, id] : ids_) {
    if (token.empty() || char_bytes(token[0]) != token.size()) continue;
    size_t at = 0;
    const char32_t c = next_char(token, at);
    if (c < kIndexedChars) char_ids_[c] = id;
  }
}

}  // namespace conclave::coordinator
