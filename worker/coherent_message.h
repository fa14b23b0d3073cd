#ifndef CONCLAVE_WORKER_COHERENT_MESSAGE_H_
#define CONCLAVE_WORKER_COHERENT_MESSAGE_H_

// What one rank sends to another in the dispatch of a context-coherent layer: rows for the
// receiver's experts, where the results of each shall go, and the whole state of the rows that stay
// at the receiver.
//
// Layout: u32 rows, pairs, moves, 0; u32 count[rows] (experts of each row); i32 to[rows]; i32
// expert[pairs] (row by row, ascending); moves x {i32 row (in this message), item, leader, i32
// id[k], f32 weight[k]}; padding to 64; rows x row_bytes; padding to 64; moves x state_bytes.

#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/status.h"

namespace conclave::worker {

struct CoherentShape {
  size_t top_k = 0;
  size_t row_bytes = 0;    // act row
  size_t state_bytes = 0;  // of a moving row, float32
};
struct CoherentCounts {
  size_t rows = 0;
  size_t pairs = 0;
  size_t moves = 0;
};
// 0 rows make an empty message.
size_t coherent_message_bytes(const CoherentShape& shape, const CoherentCounts& counts);

// Where the results of a row go, and whether it runs with the coherent plan.
struct RowTarget {
  int32_t rank = 0;
  bool coherent = false;
};
struct RowMove {
  int32_t row = 0;               // index of the row in the message
  int32_t item = 0;              // which coherent chunk of the plan
  int32_t leader = 0;            // its leading expert in this layer
  std::span<const int32_t> ids;  // [k]
  std::span<const float> weights;
};

// Writes one message into memory of coherent_message_bytes(), whose counts are known beforehand.
class CoherentWriter {
 public:
  CoherentWriter() = default;
  CoherentWriter(std::byte* out, const CoherentShape& shape, const CoherentCounts& counts);
  // Adds a row; its experts follow by add_expert(). Returns its index.
  int32_t add_row(const std::byte* row, RowTarget target);
  void add_expert(int32_t expert);
  // Returns where the state of the moving row shall be written.
  std::byte* add_move(const RowMove& move);

 private:
  CoherentShape shape_;
  std::byte* counts_ = nullptr;
  std::byte* targets_ = nullptr;
  std::byte* experts_ = nullptr;
  std::byte* moves_ = nullptr;
  std::byte* rows_ = nullptr;
  std::byte* states_ = nullptr;
  size_t row_ = 0, pair_ = 0, move_ = 0;
  uint32_t row_experts_ = 0;
};

// A received message, checked against its own size.
class CoherentReader {
 public:
  // INVALID_ARGUMENT: not what a CoherentWriter writes, or more than max_rows rows.
  absl::Status open(std::span<const std::byte> message, const CoherentShape& shape,
                    size_t max_rows);
  const CoherentCounts& counts() const { return counts_; }
  uint32_t experts_of_row(size_t row) const;
  RowTarget target(size_t row) const;
  int32_t expert(size_t pair) const;
  const std::byte* row_data() const { return rows_; }  // [rows, row_bytes]
  RowMove move(size_t index) const;
  const std::byte* state(size_t index) const { return states_ + index * shape_.state_bytes; }

 private:
  CoherentShape shape_;
  CoherentCounts counts_;
  const std::byte* row_experts_ = nullptr;
  const std::byte* targets_ = nullptr;
  const std::byte* experts_ = nullptr;
  const std::byte* moves_ = nullptr;
  const std::byte* rows_ = nullptr;
  const std::byte* states_ = nullptr;
};

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_COHERENT_MESSAGE_H_
