#ifndef CONCLAVE_BASE_WIRE_H_
#define CONCLAVE_BASE_WIRE_H_

// Little-endian byte encoding for control messages. The reader never trusts a length: each read is
// bounds-checked, a failed reader stays failed and returns zeros, and the caller looks at ok() once.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace conclave {

class WireWriter {
 public:
  explicit WireWriter(std::vector<std::byte>* out) : out_(out) {}
  template <typename T>
    requires std::is_arithmetic_v<T> || std::is_enum_v<T>
  void put(T value) {
    append(&value, sizeof value);
  }
  void put_string(std::string_view text) {
    put(static_cast<uint32_t>(text.size()));
    append(text.data(), text.size());
  }
  template <typename T>
    requires std::is_arithmetic_v<T>
  void put_array(std::span<const T> values) {
    put(static_cast<uint32_t>(values.size()));
    append(values.data(), values.size_bytes());
  }

 private:
  void append(const void* data, size_t bytes) {
    const size_t end = out_->size();
    out_->resize(end + bytes);
    if (bytes != 0) std::memcpy(out_->data() + end, data, bytes);
  }
  std::vector<std::byte>* out_;
};

class WireReader {
 public:
  explicit WireReader(std::span<const std::byte> in) : in_(in) {}
  bool ok() const { return ok_; }
  bool at_end() const { return in_.empty(); }
  template <typename T>
    requires std::is_arithmetic_v<T> || std::is_enum_v<T>
  T get() {
    T value{};
    take(&value, sizeof value);
    return value;
  }
  std::string get_string() {
    std::string text(checked_count(1), '\0');
    take(text.data(), text.size());
    return text;
  }
  template <typename T>
    requires std::is_arithmetic_v<T>
  std::vector<T> get_array() {
    std::vector<T> values(checked_count(sizeof(T)));
    take(values.data(), values.size() * sizeof(T));
    return values;
  }
  // A count of records that take at least min_bytes each: fails instead of allocating for a lie.
  uint32_t get_count(size_t min_bytes) { return static_cast<uint32_t>(checked_count(min_bytes)); }
  void fail() { ok_ = false; in_ = {}; }

 private:
  size_t checked_count(size_t element_bytes) {
    const uint32_t count = get<uint32_t>();
    if (static_cast<size_t>(count) * element_bytes > in_.size()) {
      fail();
      return 0;
    }
    return count;
  }
  void take(void* out, size_t bytes) {
    if (bytes > in_.size()) {
      fail();
      return;
    }
    if (bytes != 0) std::memcpy(out, in_.data(), bytes);
    in_ = in_.subspan(bytes);
  }
  std::span<const std::byte> in_;
  bool ok_ = true;
};

}  // namespace conclave

#endif  // CONCLAVE_BASE_WIRE_H_
