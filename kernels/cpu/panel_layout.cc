#include "kernels/cpu/panel_layout.h"

#include <algorithm>
#include <cstring>

#include "kernels/cpu/kernel_table.h"
#include "kernels/element.h"

namespace conclave::kernels::cpu {
namespace {

// The source of one column of a panel: a row of the weight file, or nothing (zeros).
struct SourceRow {
  const std::byte* data = nullptr;
  DType dtype = DType::kF32;
};

SourceRow row_of(const WeightRows& part, int64_t row) {
  const int64_t row_bytes = part.cols * static_cast<int64_t>(dtype_bytes(part.dtype));
  return {static_cast<const std::byte*>(part.data) + row * row_bytes, part.dtype};
}

int64_t place_in_line(int column, DType stored) {
  return stored == DType::kBF16 ? column % 16 * 2 + column / 16 : column;
}

template <typename Word>
void copy_column(const std::byte* from, int64_t count, Word* to) {
  for (int64_t i = 0; i < count; ++i) {
    Word word;
    std::memcpy(&word, from + i * static_cast<int64_t>(sizeof word), sizeof word);
    to[i * kPanelRows] = word;
  }
}

void convert_column(const SourceRow& source, int64_t first, int64_t count, DType stored, void* to) {
  for (int64_t i = 0; i < count; ++i) {
    store_element(to, stored, i * kPanelRows, load_element(source.data, source.dtype, first + i));
  }
}

// Blocks of k, so that the lines of a block stay in the first-level cache while 32 columns are
// written.
void pack_panel(const SourceRow (&rows)[kPanelRows], int64_t k, DType stored, std::byte* out) {
  constexpr int64_t kBlock = 64;
  const auto bytes = static_cast<int64_t>(dtype_bytes(stored));
  for (int64_t first = 0; first < k; first += kBlock) {
    const int64_t count = std::min(kBlock, k - first);
    std::byte* lines = out + first * kPanelRows * bytes;
    for (int column = 0; column < kPanelRows; ++column) {
      const SourceRow& source = rows[column];
      std::byte* to = lines + place_in_line(column, stored) * bytes;
      if (source.data == nullptr) {
        for (int64_t i = 0; i < count; ++i) store_element(to, stored, i * kPanelRows, 0.0f);
      } else if (source.dtype != stored) {
        convert_column(source, first, count, stored, to);
      } else if (stored == DType::kF32) {
        copy_column(source.data + first * bytes, count, reinterpret_cast<uint32_t*>(to));
      } else {
        copy_column(source.data + first * bytes, count, reinterpret_cast<uint16_t*>(to));
      }
    }
  }
}

}  // namespace

int64_t panel_count(int64_t n) { return (n + kPanelRows - 1) / kPanelRows; }

int64_t panel_bytes(int64_t k, DType stored) {
  return k * kPanelRows * static_cast<int64_t>(dtype_bytes(stored));
}

size_t panels_bytes(int64_t n, int64_t k, DType stored) {
  return static_cast<size_t>(panel_count(n)) * static_cast<size_t>(panel_bytes(k, stored));
}

PackedMatrix pack_panels(std::span<const WeightRows> parts, DType stored, std::byte* out) {
  const int64_t k = parts.empty() ? 0 : parts[0].cols;
  int64_t n = 0;
  SourceRow rows[kPanelRows];
  for (const WeightRows& part : parts) {
    for (int64_t row = 0; row < part.rows; ++row, ++n) {
      rows[n % kPanelRows] = row_of(part, row);
      if (n % kPanelRows != kPanelRows - 1) continue;
      pack_panel(rows, k, stored, out + n / kPanelRows * panel_bytes(k, stored));
      std::fill(std::begin(rows), std::end(rows), SourceRow{});
    }
  }
  if (n % kPanelRows != 0)
    pack_panel(rows, k, stored, out + n / kPanelRows * panel_bytes(k, stored));
  return {out, stored, n, k};
}

PackedMatrix pack_gate_up_panels(const WeightRows& gate, const WeightRows& up, DType stored,
                                 std::byte* out) {
  constexpr int64_t kHalf = kPanelRows / 2;
  for (int64_t first = 0; first < gate.rows; first += kHalf) {
    SourceRow rows[kPanelRows];
    for (int64_t i = 0; i < std::min(kHalf, gate.rows - first); ++i) {
      rows[i] = row_of(gate, first + i);
      rows[kHalf + i] = row_of(up, first + i);
    }
    pack_panel(rows, gate.cols, stored, out + first / kHalf * panel_bytes(gate.cols, stored));
  }
  return {out, stored, 2 * gate.rows, gate.cols};
}

void unpack_row(const PackedMatrix& packed, int64_t row, float* out) {
  const std::byte* panel = packed.data + row / kPanelRows * panel_bytes(packed.k, packed.dtype);
  const int64_t place = place_in_line(static_cast<int>(row % kPanelRows), packed.dtype);
  for (int64_t i = 0; i < packed.k; ++i) out[i] = load_element(panel, packed.dtype, i * kPanelRows + place);
}

}  // namespace conclave::kernels::cpu
