#include "coordinator/chat_template/known_names.h"

#include <algorithm>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "coordinator/chat_template/evaluator.h"
#include "coordinator/chat_template/filters.h"
#include "coordinator/chat_template/methods.h"
#include "coordinator/chat_template/predicates.h"

namespace conclave::coordinator::jinja {
namespace {

nlohmann::ordered_json split(const std::vector<std::string_view>& names,
                             std::initializer_list<std::string_view> refused) {
  nlohmann::ordered_json lists{{"known", nlohmann::ordered_json::array()},
                               {"refused", nlohmann::ordered_json::array()}};
  for (const std::string_view name : names) {
    const bool no = std::find(refused.begin(), refused.end(), name) != refused.end();
    lists[no ? "refused" : "known"].push_back(std::string(name));
  }
  return lists;
}

}  // namespace

nlohmann::ordered_json known_names() {
  return {{"filters", split(filter_names(), {})},
          {"tests", split(predicate_names(), {})},
          {"globals", split(global_function_names(), {"lipsum"})},
          {"str", split(string_method_names(), {"encode"})},
          {"list", split(sequence_method_names(SequenceKind::kList), {})},
          {"dict", split(dict_method_names(), {})},
          {"int", split(number_method_names(false), {"from_bytes", "to_bytes"})},
          {"float", split(number_method_names(true), {"fromhex", "hex"})},
          {"tuple", split(sequence_method_names(SequenceKind::kTuple), {})},
          {"range", split(sequence_method_names(SequenceKind::kRange), {})}};
}

}  // namespace conclave::coordinator::jinja
