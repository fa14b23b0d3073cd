#ifndef CONCLAVE_TESTS_WORKER_GOLDEN_FILE_H_
#define CONCLAVE_TESTS_WORKER_GOLDEN_FILE_H_

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "model/safetensors.h"

namespace conclave::worker {

// Typed arrays out of a golden.safetensors; a missing tensor is an empty array.
class GoldenFile {
 public:
  static absl::StatusOr<GoldenFile> open(const std::string& path) {
    auto file = model::SafetensorsFile::open(path);
    if (!file.ok()) return file.status();
    return GoldenFile(*std::move(file));
  }
  template <typename T>
  std::vector<T> array(const std::string& name) const {
    const auto found = file_->header().tensors.find(name);
    if (found == file_->header().tensors.end()) return {};
    const std::span<const std::byte> bytes = file_->data(found->second);
    std::vector<T> values(bytes.size() / sizeof(T));
    std::memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
    return values;
  }
  std::vector<int32_t> tokens(const std::string& name) const {
    const std::vector<int64_t> wide = array<int64_t>(name);
    return {wide.begin(), wide.end()};
  }

 private:
  explicit GoldenFile(std::shared_ptr<const model::SafetensorsFile> file) : file_(std::move(file)) {}
  std::shared_ptr<const model::SafetensorsFile> file_;
};

}  // namespace conclave::worker

#endif  // CONCLAVE_TESTS_WORKER_GOLDEN_FILE_H_
