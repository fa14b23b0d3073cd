#include "coordinator/tokenizer/post_processor.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/tokenizer/bpe_model.h"

namespace conclave::coordinator {
namespace {

absl::StatusOr<int32_t> special_id(const Json& json, const std::string& where) {
  if (!json.is_number_unsigned() || json.get<uint64_t>() > uint64_t{BpeModel::kMaxId}) {
    return bad_file(where,
                    absl::StrCat("a token id must be a whole number from 0 to ", BpeModel::kMaxId));
  }
  return static_cast<int32_t>(json.get<uint64_t>());
}

// The ids that "special_tokens" gives a name of the template.
absl::StatusOr<std::vector<int32_t>> special_ids(const Json& json, const std::string& name,
                                                 const std::string& where) {
  const auto table = json.find("special_tokens");
  if (table == json.end() || !table->is_object() || !table->contains(name)) {
    return bad_file(
        where, absl::StrCat("the template's ", in_quotes(name), " is not in \"special_tokens\""));
  }
  const Json& entry = (*table)[name];
  if (!entry.is_object())
    return bad_file(where, "an entry of \"special_tokens\" must be an object");
  ASSIGN_OR_RETURN(const Json* list, array_field(entry, "ids", where));
  std::vector<int32_t> ids;
  for (size_t i = 0; list != nullptr && i < list->size(); ++i) {
    ASSIGN_OR_RETURN(const int32_t id, special_id((*list)[i], where));
    ids.push_back(id);
  }
  return ids;
}

void append(const std::vector<int32_t>& from, std::vector<int32_t>& to) {
  to.insert(to.end(), from.begin(), from.end());
}

}  // namespace

PostProcessor PostProcessor::around(std::vector<int32_t> before, std::vector<int32_t> after) {
  Template t;
  if (!before.empty()) t.single.push_back({Part::Kind::kSpecial, std::move(before)});
  t.single.push_back({Part::Kind::kFirst, {}});
  if (!after.empty()) t.single.push_back({Part::Kind::kSpecial, std::move(after)});
  t.pair = t.single;
  t.pair.push_back({Part::Kind::kSecond, {}});
  PostProcessor processor;
  processor.templates_.push_back(std::move(t));
  return processor;
}

absl::StatusOr<PostProcessor> PostProcessor::from_json(const Json& json, const std::string& where) {
  PostProcessor processor;
  if (!json.is_null()) RETURN_IF_ERROR(processor.add(json, where));
  return processor;
}

absl::Status PostProcessor::add(const Json& json, const std::string& where) {
  ASSIGN_OR_RETURN(const std::string type, type_of(json, where));
  if (type == "ByteLevel") return absl::OkStatus();  // changes offsets only
  if (type == "TemplateProcessing") return add_template(json, where);
  if (type == "BertProcessing" || type == "RobertaProcessing") return add_classifier(json, where);
  if (type != "Sequence") {
    return bad_file(where,
                    absl::StrCat("the post_processor type ", in_quotes(type),
                                 " is not supported; this program knows TemplateProcessing, "
                                 "ByteLevel, BertProcessing, RobertaProcessing and Sequence"));
  }
  ASSIGN_OR_RETURN(const Json* items, array_field(json, "processors", where));
  for (size_t i = 0; items != nullptr && i < items->size(); ++i) {
    RETURN_IF_ERROR(add((*items)[i], absl::StrCat(where, ".processors[", i, "]")));
  }
  return absl::OkStatus();
}

absl::Status PostProcessor::add_classifier(const Json& json, const std::string& where) {
  const auto id_of = [&](const char* key) -> absl::StatusOr<int32_t> {
    ASSIGN_OR_RETURN(const Json* pair, array_field(json, key, where));
    if (pair == nullptr || pair->size() != 2) {
      return bad_file(where, absl::StrCat("\"", key, "\" must be [token, id]"));
    }
    return special_id((*pair)[1], where);
  };
  ASSIGN_OR_RETURN(const int32_t start, id_of("cls"));
  ASSIGN_OR_RETURN(const int32_t end, id_of("sep"));
  templates_.push_back(around({start}, {end}).templates_.front());
  return absl::OkStatus();
}

absl::Status PostProcessor::add_template(const Json& json, const std::string& where) {
  Template t;
  ASSIGN_OR_RETURN(t.single, parts_from_json(json, "single", where));
  ASSIGN_OR_RETURN(t.pair, parts_from_json(json, "pair", where));
  if (t.pair.empty()) t.pair = {{Part::Kind::kFirst, {}}, {Part::Kind::kSecond, {}}};
  for (const Part& part : t.single) {
    if (part.kind == Part::Kind::kSecond) {
      return bad_file(where, "\"single\" must not name the sequence \"B\"");
    }
  }
  templates_.push_back(std::move(t));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<PostProcessor::Part>> PostProcessor::parts_from_json(
    const Json& json, const char* key, const std::string& where) {
  ASSIGN_OR_RETURN(const Json* list, array_field(json, key, where));
  std::vector<Part> parts;
  size_t sequences = 0;
  for (size_t i = 0; list != nullptr && i < list->size(); ++i) {
    const Json& item = (*list)[i];
    const std::string place = absl::StrCat(where, ".", key, "[", i, "]");
    const bool one = item.is_object() && item.size() == 1 && item.begin()->is_object();
    const std::string kind = one ? item.begin().key() : "";
    if (kind != "Sequence" && kind != "SpecialToken") {
      return bad_file(place, "must be {\"Sequence\": {..}} or {\"SpecialToken\": {..}}");
    }
    ASSIGN_OR_RETURN(const std::string id, string_field(*item.begin(), "id", "", place));
    if (kind == "SpecialToken") {
      ASSIGN_OR_RETURN(std::vector<int32_t> ids, special_ids(json, id, place));
      parts.push_back({Part::Kind::kSpecial, std::move(ids)});
    } else if (id == "A" || id == "B") {
      ++sequences;
      parts.push_back({id == "A" ? Part::Kind::kFirst : Part::Kind::kSecond, {}});
    } else {
      return bad_file(place, absl::StrCat("a sequence is \"A\" or \"B\", not ", in_quotes(id)));
    }
  }
  // A chain of templates that repeat their input would double the ids again and again.
  constexpr size_t kMaxSequences = 2;
  if (sequences > kMaxSequences) {
    return bad_file(where, absl::StrCat("\"", key, "\" names more than two sequences"));
  }
  return parts;
}

// A template's parts stay apart: a template behind another one takes two parts for a pair. Three or
// more cannot be meant; they are taken for one text.
std::vector<int32_t> PostProcessor::apply(std::vector<int32_t> ids, bool add_special_tokens) const {
  const size_t limit = (size_t{1} << 20) + 4 * ids.size();
  std::vector<std::vector<int32_t>> sequences;
  sequences.push_back(std::move(ids));
  for (const Template& t : templates_) {
    if (sequences.size() > 2) {
      for (size_t i = 1; i < sequences.size(); ++i) append(sequences[i], sequences[0]);
      sequences.resize(1);
    }
    std::vector<std::vector<int32_t>> out;
    size_t total = 0;
    for (const Part& part : sequences.size() == 2 ? t.pair : t.single) {
      const bool special = part.kind == Part::Kind::kSpecial;
      if (special && !add_special_tokens) continue;
      const size_t index = part.kind == Part::Kind::kSecond ? 1 : 0;
      if (!special && index >= sequences.size()) continue;
      out.push_back(special ? part.ids : sequences[index]);
      total += out.back().size();
    }
    if (total > limit) break;
    sequences = std::move(out);
    if (sequences.empty()) return {};
  }
  std::vector<int32_t> result = std::move(sequences[0]);
  for (size_t i = 1; i < sequences.size(); ++i) append(sequences[i], result);
  return result;
}

}  // namespace conclave::coordinator
