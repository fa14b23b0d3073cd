#include "worker/coherent_message.h"

#include <cstring>

#include "absl/strings/str_cat.h"
#include "worker/host_region.h"

namespace conclave::worker {
namespace {

constexpr size_t kHeaderBytes = 16;
constexpr uint32_t kCoherentFlag = 1u << 30;

template <typename T>
T read(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
template <typename T>
void write(std::byte* to, T value) {
  std::memcpy(to, &value, sizeof value);
}

size_t move_bytes(const CoherentShape& shape) { return 12 + 8 * shape.top_k; }
size_t moves_at(const CoherentCounts& counts) {
  return kHeaderBytes + 8 * counts.rows + 4 * counts.pairs;
}
size_t rows_at(const CoherentShape& shape, const CoherentCounts& counts) {
  return align_region(moves_at(counts) + counts.moves * move_bytes(shape));
}
size_t states_at(const CoherentShape& shape, const CoherentCounts& counts) {
  return align_region(rows_at(shape, counts) + counts.rows * shape.row_bytes);
}

}  // namespace

size_t coherent_message_bytes(const CoherentShape& shape, const CoherentCounts& counts) {
  return counts.rows == 0 ? 0 : states_at(shape, counts) + counts.moves * shape.state_bytes;
}

CoherentWriter::CoherentWriter(std::byte* out, const CoherentShape& shape,
                               const CoherentCounts& counts)
    : shape_(shape),
      counts_(out + kHeaderBytes),
      targets_(counts_ + 4 * counts.rows),
      experts_(targets_ + 4 * counts.rows),
      moves_(out + moves_at(counts)),
      rows_(out + rows_at(shape, counts)),
      states_(out + states_at(shape, counts)) {
  if (counts.rows == 0) return;
  write(out, static_cast<uint32_t>(counts.rows));
  write(out + 4, static_cast<uint32_t>(counts.pairs));
  write(out + 8, static_cast<uint32_t>(counts.moves));
  write(out + 12, uint32_t{0});
}

int32_t CoherentWriter::add_row(const std::byte* row, RowTarget target) {
  std::memcpy(rows_ + row_ * shape_.row_bytes, row, shape_.row_bytes);
  write(targets_ + 4 * row_,
        static_cast<uint32_t>(target.rank) | (target.coherent ? kCoherentFlag : 0));
  row_experts_ = 0;
  return static_cast<int32_t>(row_++);
}

void CoherentWriter::add_expert(int32_t expert) {
  write(experts_ + 4 * pair_++, expert);
  write(counts_ + 4 * (row_ - 1), ++row_experts_);
}

std::byte* CoherentWriter::add_move(const RowMove& move) {
  std::byte* record = moves_ + move_ * move_bytes(shape_);
  write(record, move.row);
  write(record + 4, move.item);
  write(record + 8, move.leader);
  std::memcpy(record + 12, move.ids.data(), 4 * shape_.top_k);
  std::memcpy(record + 12 + 4 * shape_.top_k, move.weights.data(), 4 * shape_.top_k);
  return states_ + move_++ * shape_.state_bytes;
}

absl::Status CoherentReader::open(std::span<const std::byte> message, const CoherentShape& shape,
                                  size_t max_rows) {
  *this = CoherentReader();
  shape_ = shape;
  if (message.empty()) return absl::OkStatus();
  CoherentCounts counts;
  if (message.size() >= kHeaderBytes) {
    counts.rows = read<uint32_t>(message.data());
    counts.pairs = read<uint32_t>(message.data() + 4);
    counts.moves = read<uint32_t>(message.data() + 8);
  }
  if (counts.rows == 0 || counts.rows > max_rows || counts.moves > counts.rows ||
      counts.pairs > message.size() / 4 ||
      message.size() != coherent_message_bytes(shape, counts)) {
    return absl::InvalidArgumentError(
        absl::StrCat("a dispatch message of ", message.size(), " bytes claims ", counts.rows,
                     " rows, ", counts.pairs, " expert rows and ", counts.moves, " moves"));
  }
  counts_ = counts;
  row_experts_ = message.data() + kHeaderBytes;
  targets_ = row_experts_ + 4 * counts.rows;
  experts_ = targets_ + 4 * counts.rows;
  moves_ = message.data() + moves_at(counts);
  rows_ = message.data() + rows_at(shape, counts);
  states_ = message.data() + states_at(shape, counts);
  uint64_t total = 0;
  for (size_t row = 0; row < counts.rows; ++row) total += experts_of_row(row);
  if (total != counts.pairs) {
    return absl::InvalidArgumentError(
        absl::StrCat("a dispatch message lists ", total, " expert rows but claims ", counts.pairs));
  }
  for (size_t i = 0; i < counts.moves; ++i) {
    const int32_t row = move(i).row;
    if (row >= 0 && static_cast<size_t>(row) < counts.rows) continue;
    return absl::InvalidArgumentError("a dispatch message moves a row that it does not hold");
  }
  return absl::OkStatus();
}

uint32_t CoherentReader::experts_of_row(size_t row) const {
  return read<uint32_t>(row_experts_ + 4 * row);
}

RowTarget CoherentReader::target(size_t row) const {
  const auto bits = read<uint32_t>(targets_ + 4 * row);
  return {static_cast<int32_t>(bits & ~kCoherentFlag), (bits & kCoherentFlag) != 0};
}

int32_t CoherentReader::expert(size_t pair) const { return read<int32_t>(experts_ + 4 * pair); }

RowMove CoherentReader::move(size_t index) const {
  const std::byte* record = moves_ + index * move_bytes(shape_);
  RowMove move;
  move.row = read<int32_t>(record);
  move.item = read<int32_t>(record + 4);
  move.leader = read<int32_t>(record + 8);
  // Records are 4-byte aligned: the message begins aligned, and all before is of 4-byte fields.
  move.ids = {reinterpret_cast<const int32_t*>(record + 12), shape_.top_k};
  move.weights = {reinterpret_cast<const float*>(record + 12 + 4 * shape_.top_k), shape_.top_k};
  return move;
}

}  // namespace conclave::worker
