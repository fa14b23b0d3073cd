#ifndef CONCLAVE_WORKER_DISPATCH_MESSAGE_H_
#define CONCLAVE_WORKER_DISPATCH_MESSAGE_H_

// What one rank sends to another in a dispatch: each token row once, and which of the receiver's experts
// each row is for. Layout: u32 rows, u32 pairs, u32 count[rows] (experts of each row), i32 expert[pairs]
// (row by row, ascending), padding to 64 bytes, then the rows.

#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "worker/host_region.h"

namespace conclave::worker {

// Bytes of a message; 0 rows make an empty message.
constexpr size_t dispatch_message_bytes(size_t rows, size_t pairs, size_t row_bytes) {
  return rows == 0 ? 0 : align_region(8 + 4 * (rows + pairs)) + rows * row_bytes;
}

// Writes one message into memory of dispatch_message_bytes(), whose counts are known beforehand.
class DispatchWriter {
 public:
  DispatchWriter() = default;
  DispatchWriter(std::byte* out, size_t rows, size_t pairs, size_t row_bytes);
  // Adds a row; its experts follow by add_expert().
  void add_row(const std::byte* row);
  void add_expert(int32_t expert);
  size_t pairs_written() const { return pairs_; }

 private:
  std::byte* counts_ = nullptr;
  std::byte* experts_ = nullptr;
  std::byte* rows_ = nullptr;
  size_t row_bytes_ = 0;
  size_t row_ = 0;
  size_t pairs_ = 0;
  uint32_t row_experts_ = 0;
};

// A received message, checked against its own size.
class DispatchReader {
 public:
  // INVALID_ARGUMENT: not what a DispatchWriter writes, or more than max_rows rows.
  absl::Status open(std::span<const std::byte> message, size_t row_bytes, size_t max_rows);
  size_t rows() const { return rows_; }
  size_t pairs() const { return pairs_; }
  uint32_t experts_of_row(size_t row) const;
  int32_t expert(size_t pair) const;
  const std::byte* row_data() const { return row_data_; }  // [rows, row_bytes]

 private:
  const std::byte* counts_ = nullptr;
  const std::byte* experts_ = nullptr;
  const std::byte* row_data_ = nullptr;
  size_t rows_ = 0;
  size_t pairs_ = 0;
};

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_DISPATCH_MESSAGE_H_
