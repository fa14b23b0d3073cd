#include "worker/dispatch_message.h"

#include <cstring>

#include "absl/strings/str_cat.h"

namespace conclave::worker {
namespace {

uint32_t read_u32(const std::byte* data) {
  uint32_t value;
  std::memcpy(&value, data, sizeof value);
  return value;
}

void write_u32(std::byte* data, uint32_t value) { std::memcpy(data, &value, sizeof value); }

}  // namespace

DispatchWriter::DispatchWriter(std::byte* out, size_t rows, size_t pairs, size_t row_bytes)
    : counts_(out + 8),
      experts_(out + 8 + 4 * rows),
      rows_(out + align_region(8 + 4 * (rows + pairs))),
      row_bytes_(row_bytes) {
  if (rows == 0) return;
  write_u32(out, static_cast<uint32_t>(rows));
  write_u32(out + 4, static_cast<uint32_t>(pairs));
}

void DispatchWriter::add_row(const std::byte* row) {
  std::memcpy(rows_ + row_ * row_bytes_, row, row_bytes_);
  row_experts_ = 0;
  ++row_;
}

void DispatchWriter::add_expert(int32_t expert) {
  std::memcpy(experts_ + 4 * pairs_, &expert, 4);
  ++pairs_;
  write_u32(counts_ + 4 * (row_ - 1), ++row_experts_);
}

absl::Status DispatchReader::open(std::span<const std::byte> message, size_t row_bytes,
                                  size_t max_rows) {
  *this = DispatchReader();
  if (message.empty()) return absl::OkStatus();
  const size_t rows = message.size() < 8 ? 0 : read_u32(message.data());
  const size_t pairs = message.size() < 8 ? 0 : read_u32(message.data() + 4);
  if (rows == 0 || rows > max_rows || pairs > message.size() / 4 ||
      message.size() != dispatch_message_bytes(rows, pairs, row_bytes)) {
    return absl::InvalidArgumentError(absl::StrCat("a dispatch message of ", message.size(),
                                                   " bytes claims ", rows, " rows and ", pairs,
                                                   " expert rows"));
  }
  counts_ = message.data() + 8;
  experts_ = counts_ + 4 * rows;
  row_data_ = message.data() + align_region(8 + 4 * (rows + pairs));
  rows_ = rows;
  pairs_ = pairs;
  uint64_t total = 0;
  for (size_t row = 0; row < rows; ++row) total += experts_of_row(row);
  if (total != pairs) {
    return absl::InvalidArgumentError(absl::StrCat("a dispatch message lists ", total,
                                                   " expert rows but claims ", pairs));
  }
  return absl::OkStatus();
}

uint32_t DispatchReader::experts_of_row(size_t row) const { return read_u32(counts_ + 4 * row); }

int32_t DispatchReader::expert(size_t pair) const {
  return static_cast<int32_t>(read_u32(experts_ + 4 * pair));
}

}  // namespace conclave::worker
