#ifndef CONCLAVE_COORDINATOR_OPENAI_FIELD_READER_H_
#define CONCLAVE_COORDINATOR_OPENAI_FIELD_READER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/openai/request_fields.h"
#include "coordinator/openai/request_json.h"

namespace conclave::coordinator {

struct NumberRange {
  double low = 0;
  double high = 0;
  bool low_excluded = false;
};

// Reads typed fields out of a JSON object and keeps the first error; after an error, reads return
// nothing. null counts as absent.
class FieldReader {
 public:
  // path: of the object in the request, "" or "stream_options"; the object must outlive the reader.
  FieldReader(const Json& object, std::string path);

  const Json* find(std::string_view name);  // nullptr: absent or null
  std::optional<bool> boolean(std::string_view name);
  std::optional<double> number(std::string_view name, NumberRange range);
  std::optional<int64_t> integer(std::string_view name, int64_t low, int64_t high);
  std::optional<std::string> string(std::string_view name);
  std::optional<std::vector<int32_t>> token_ids(std::string_view name);
  // Holds all members against the table of request fields: fails for one that asks for what is
  // refused, and keeps the names of unknown ones.
  void check_names(Endpoint endpoint);

  void fail(std::string param, std::string message, std::string code);
  void fail_type(std::string_view name, std::string_view expected);
  bool ok() const { return !error_.has_value(); }
  const std::optional<ApiError>& error() const { return error_; }
  std::string param(std::string_view name) const;
  // Of check_names(), with their paths; at most 64.
  const std::vector<std::string>& unknown() const { return unknown_; }

 private:
  const Json& object_;
  const std::string path_;
  std::vector<std::string> unknown_;
  std::optional<ApiError> error_;
};

// Array of integers that may be token ids (0 .. 2^31-1); on failure *bad_index says where, -1: no
// array.
std::optional<std::vector<int32_t>> read_token_ids(const Json& value, int64_t* bad_index);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_OPENAI_FIELD_READER_H_
