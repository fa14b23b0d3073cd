#ifndef CONCLAVE_MODEL_SAFETENSORS_H_
#define CONCLAVE_MODEL_SAFETENSORS_H_

// The safetensors file format: strict header parsing, a memory-mapped reader and a writer.

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace conclave::model {

struct TensorEntry {
  std::string dtype;  // "F32", "BF16", "I32", ... as in the file
  std::vector<int64_t> shape;
  uint64_t begin = 0;  // relative to the data section
  uint64_t end = 0;
};
struct SafetensorsHeader {
  std::map<std::string, TensorEntry> tensors;
  std::map<std::string, std::string> metadata;
  uint64_t data_offset = 0;  // of the data section in the file
};
// Validates everything: lengths, JSON, dtypes, shapes, contiguous offsets. Of a tensor given twice the
// last one counts, as in the safetensors library; its bytes are the same, or the layout has a hole.
// file_bytes: whole size.
absl::StatusOr<SafetensorsHeader> parse_safetensors_header(std::span<const std::byte> prefix,
                                                           uint64_t file_bytes,
                                                           std::string_view source);

// A file mapped read-only; immutable, any number of threads may read it. Its size is checked at
// open: a file that shrinks afterwards is the caller's risk.
class SafetensorsFile {
 public:
  // NOT_FOUND, PERMISSION_DENIED, RESOURCE_EXHAUSTED (cannot map) or parse_safetensors_header's
  // errors.
  static absl::StatusOr<std::shared_ptr<const SafetensorsFile>> open(const std::string& path);
  virtual ~SafetensorsFile() = default;
  virtual const std::string& path() const = 0;
  virtual const SafetensorsHeader& header() const = 0;
  virtual std::span<const std::byte> data(const TensorEntry& entry) const = 0;  // in the map
  // Lets go of the whole pages inside range; they are read again when touched.
  virtual void release(std::span<const std::byte> range) const = 0;
};

struct TensorToWrite {
  std::string name;
  std::string dtype;
  std::vector<int64_t> shape;
  std::span<const std::byte> data;
};
// Deterministic bytes: tensors in the order given, header padded to 8. Replaces path atomically;
// holds the whole file in memory meanwhile. INVALID_ARGUMENT if a size, dtype or name does not fit.
absl::Status write_safetensors(const std::string& path, std::span<const TensorToWrite> tensors,
                               const std::map<std::string, std::string>& metadata = {},
                               int mode = 0644);

}  // namespace conclave::model

#endif  // CONCLAVE_MODEL_SAFETENSORS_H_
