#ifndef CONCLAVE_COORDINATOR_TOKENIZER_POST_PROCESSOR_H_
#define CONCLAVE_COORDINATOR_TOKENIZER_POST_PROCESSOR_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/tokenizer/json_fields.h"

namespace conclave::coordinator {

// Puts special tokens around the ids of a text. Immutable; any thread.
class PostProcessor {
 public:
  // json: the "post_processor" of a tokenizer file, may be null. INVALID_ARGUMENT names the place.
  static absl::StatusOr<PostProcessor> from_json(const Json& json, const std::string& where);
  // The text between these ids.
  static PostProcessor around(std::vector<int32_t> before, std::vector<int32_t> after);

  std::vector<int32_t> apply(std::vector<int32_t> ids, bool add_special_tokens) const;

 private:
  // Of a template: special ids, or the first or second sequence.
  struct Part {
    enum class Kind { kSpecial, kFirst, kSecond } kind;
    std::vector<int32_t> ids;
  };
  struct Template {
    std::vector<Part> single;
    std::vector<Part> pair;
  };

  absl::Status add(const Json& json, const std::string& where);
  absl::Status add_template(const Json& json, const std::string& where);
  absl::Status add_classifier(const Json& json, const std::string& where);
  static absl::StatusOr<std::vector<Part>> parts_from_json(const Json& json, const char* key,
                                                           const std::string& where);

  std::vector<Template> templates_;  // applied one after another
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_TOKENIZER_POST_PROCESSOR_H_
