#include "expert_placement/profile/routing_rows.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/safetensors.h"

namespace conclave::placement {
namespace {

absl::Status bad(const std::string& path, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(path, ": ", what, "; expected a routing trace"));
}

int64_t load_integer(const std::byte* data, const std::string& dtype, size_t index) {
  const auto byte = [&](size_t i) { return std::to_integer<uint32_t>(data[i]); };
  if (dtype == "U8") return byte(index);
  if (dtype == "U16") return byte(2 * index) | byte(2 * index + 1) << 8;
  const size_t at = 4 * index;
  return static_cast<int32_t>(byte(at) | byte(at + 1) << 8 | byte(at + 2) << 16 |
                              byte(at + 3) << 24);
}

absl::StatusOr<const model::TensorEntry*> find(const model::SafetensorsFile& file,
                                               const std::string& name, size_t dimensions,
                                               const std::set<std::string>& dtypes) {
  const auto it = file.header().tensors.find(name);
  if (it == file.header().tensors.end())
    return bad(file.path(), absl::StrCat("has no tensor \"", name, "\""));
  if (it->second.shape.size() != dimensions || dtypes.count(it->second.dtype) == 0) {
    return bad(file.path(), absl::StrCat("tensor \"", name, "\" has dtype ", it->second.dtype,
                                         " and ", it->second.shape.size(), " dimensions, expected ",
                                         dimensions, " dimensions of integers"));
  }
  return &it->second;
}

absl::StatusOr<int32_t> expert_count(const model::SafetensorsFile& file) {
  const auto it = file.header().metadata.find("experts");
  int32_t experts = 0;
  if (it == file.header().metadata.end() || !absl::SimpleAtoi(it->second, &experts) ||
      experts < 1 || experts > 65535) {
    return bad(file.path(),
               "metadata \"experts\" must say how many experts a layer has (1 to 65535)");
  }
  return experts;
}

absl::Status read_chosen(const model::SafetensorsFile& file, const model::TensorEntry& entry,
                         RoutingRows* rows) {
  const std::byte* data = file.data(entry).data();
  const size_t k = static_cast<size_t>(rows->top_k);
  for (size_t i = 0; i < rows->chosen.size(); ++i) {
    const int64_t id = load_integer(data, entry.dtype, i);
    if (id < 0 || id >= rows->experts) {
      return bad(file.path(), absl::StrCat("experts[", i / k / static_cast<size_t>(rows->layers),
                                           "] names expert ", id, " of ", rows->experts));
    }
    rows->chosen[i] = static_cast<uint16_t>(id);
    for (size_t j = i - i % k; j < i; ++j) {
      if (rows->chosen[j] == rows->chosen[i]) {
        return bad(file.path(), absl::StrCat("experts[", i / k / static_cast<size_t>(rows->layers),
                                             "] names expert ", id, " twice in one layer"));
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

RoutingRows select_sequences(const RoutingRows& rows, const std::function<bool(int32_t)>& keep) {
  RoutingRows out{rows.layers, rows.experts, rows.top_k, {}, {}};
  const size_t width = static_cast<size_t>(rows.layers) * static_cast<size_t>(rows.top_k);
  for (size_t row = 0; row < rows.sequence.size(); ++row) {
    if (!keep(rows.sequence[row])) continue;
    out.sequence.push_back(rows.sequence[row]);
    const auto begin = rows.chosen.begin() + static_cast<int64_t>(row * width);
    out.chosen.insert(out.chosen.end(), begin, begin + static_cast<int64_t>(width));
  }
  return out;
}

SplitRows hold_out(const RoutingRows& rows, int32_t every_nth) {
  std::vector<int32_t> ids(rows.sequence.begin(), rows.sequence.end());
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  const auto is_test = [&](int32_t sequence) {
    const auto index = std::lower_bound(ids.begin(), ids.end(), sequence) - ids.begin();
    return index % every_nth == every_nth - 1;
  };
  return {select_sequences(rows, [&](int32_t s) { return !is_test(s); }),
          select_sequences(rows, is_test)};
}

RoutingRows thin_rows(const RoutingRows& rows, int64_t max_rows) {
  if (rows.rows() <= max_rows) return rows;
  if (max_rows <= 0) return RoutingRows{rows.layers, rows.experts, rows.top_k, {}, {}};
  std::vector<int32_t> ids(rows.sequence);
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  std::sort(ids.begin(), ids.end());
  const double keep = static_cast<double>(max_rows) / static_cast<double>(rows.rows());
  return select_sequences(rows, [&](int32_t sequence) {
    const auto index =
        static_cast<double>(std::lower_bound(ids.begin(), ids.end(), sequence) - ids.begin());
    return std::floor((index + 1) * keep) > std::floor(index * keep);
  });
}

absl::StatusOr<RoutingRows> read_trace(const std::string& path) {
  ASSIGN_OR_RETURN(const auto file, model::SafetensorsFile::open(path));
  ASSIGN_OR_RETURN(const model::TensorEntry* const chosen,
                   find(*file, "experts", 3, {"U8", "U16", "I32"}));
  ASSIGN_OR_RETURN(const model::TensorEntry* const sequence, find(*file, "sequence", 1, {"I32"}));
  RoutingRows rows;
  ASSIGN_OR_RETURN(rows.experts, expert_count(*file));
  const std::vector<int64_t>& shape = chosen->shape;
  if (shape[0] != sequence->shape[0])
    return bad(path, "\"experts\" and \"sequence\" differ in length");
  if (shape[1] < 1 || shape[1] > 1 << 16 || shape[2] < 1 || shape[2] > rows.experts) {
    return bad(path, absl::StrCat("\"experts\" has shape [", shape[0], ", ", shape[1], ", ",
                                  shape[2], "] with ", rows.experts, " experts"));
  }
  rows.layers = static_cast<int32_t>(shape[1]);
  rows.top_k = static_cast<int32_t>(shape[2]);
  rows.chosen.resize(static_cast<size_t>(shape[0] * shape[1] * shape[2]));
  RETURN_IF_ERROR(read_chosen(*file, *chosen, &rows));
  rows.sequence.resize(static_cast<size_t>(shape[0]));
  for (size_t i = 0; i < rows.sequence.size(); ++i) {
    rows.sequence[i] = static_cast<int32_t>(load_integer(file->data(*sequence).data(), "I32", i));
  }
  return rows;
}

}  // namespace conclave::placement
