#include "model/safetensors.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "model/json_fields.h"

namespace conclave::model {
namespace {

using nlohmann::json;

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;
// object of tensors > tensor > list of integers
constexpr int kHeaderDepth = 3;

struct DtypeBits {
  std::string_view name;
  uint64_t bits;
};
constexpr std::array<DtypeBits, 22> kDtypes = {{
    {"BOOL", 8},        {"U8", 8},          {"I8", 8},   {"F8_E5M2", 8}, {"F8_E4M3", 8},
    {"F8_E8M0", 8},     {"I16", 16},        {"U16", 16}, {"F16", 16},    {"BF16", 16},
    {"I32", 32},        {"U32", 32},        {"F32", 32}, {"I64", 64},    {"U64", 64},
    {"F64", 64},        {"C64", 64},        {"F4", 4},   {"F6_E2M3", 6}, {"F6_E3M2", 6},
    {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8},
}};

std::optional<uint64_t> bits_of(std::string_view dtype) {
  for (const DtypeBits& known : kDtypes) {
    if (known.name == dtype) return known.bits;
  }
  return std::nullopt;
}

// Bytes of a tensor, or nothing if its size in bits overflows or is no whole number of bytes.
std::optional<uint64_t> bytes_of(const std::vector<int64_t>& shape, uint64_t bits) {
  uint64_t total_bits = bits;
  for (const int64_t dim : shape) {
    if (dim < 0 || __builtin_mul_overflow(total_bits, static_cast<uint64_t>(dim), &total_bits)) {
      return std::nullopt;
    }
  }
  if (total_bits % 8 != 0) return std::nullopt;
  return total_bits / 8;
}

std::string shape_text(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

// Errors about one file or one tensor of it.
class HeaderError {
 public:
  explicit HeaderError(std::string_view source) : source_(source) {}
  absl::Status file(const std::string& what) const {
    return absl::InvalidArgumentError(absl::StrCat(source_, ": ", what));
  }
  absl::Status tensor(const std::string& name, const std::string& what) const {
    return file(absl::StrCat("tensor ", printable(name), " ", what));
  }

 private:
  std::string source_;
};

absl::Status read_shape(const json& value, const std::string& name, const HeaderError& error,
                        std::vector<int64_t>* shape) {
  for (const json& dim : value) {
    if (!dim.is_number_unsigned() || dim.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) {
      return error.tensor(name, absl::StrCat("has shape ", printable_json(value),
                                             ", expected a list of integers, each 0 or more"));
    }
    shape->push_back(dim.get<int64_t>());
  }
  return absl::OkStatus();
}

absl::StatusOr<TensorEntry> read_entry(const json& value, const std::string& name,
                                       const HeaderError& error) {
  if (!value.is_object()) {
    return error.tensor(name, absl::StrCat("is described by ", printable_json(value),
                                           ", expected an object with dtype, shape, data_offsets"));
  }
  const auto dtype = value.find("dtype");
  const auto shape = value.find("shape");
  const auto offsets = value.find("data_offsets");
  if (dtype == value.end() || !dtype->is_string()) {
    return error.tensor(name, "has no dtype string");
  }
  if (shape == value.end() || !shape->is_array()) return error.tensor(name, "has no shape list");
  if (offsets == value.end() || !offsets->is_array() || offsets->size() != 2 ||
      !(*offsets)[0].is_number_unsigned() || !(*offsets)[1].is_number_unsigned()) {
    return error.tensor(name, "has no data_offsets pair [begin, end]");
  }
  TensorEntry entry;
  entry.dtype = dtype->get<std::string>();
  entry.begin = (*offsets)[0].get<uint64_t>();
  entry.end = (*offsets)[1].get<uint64_t>();
  RETURN_IF_ERROR(read_shape(*shape, name, error, &entry.shape));
  const std::optional<uint64_t> bits = bits_of(entry.dtype);
  if (!bits) {
    return error.tensor(name, absl::StrCat("has unknown dtype ", printable(entry.dtype)));
  }
  if (entry.begin > entry.end) {
    return error.tensor(name, absl::StrCat("has data_offsets [", entry.begin, ", ", entry.end,
                                           "], which end before they begin"));
  }
  const std::optional<uint64_t> bytes = bytes_of(entry.shape, *bits);
  if (!bytes || *bytes != entry.end - entry.begin) {
    return error.tensor(
        name, absl::StrCat("with dtype ", entry.dtype, " and shape ", shape_text(entry.shape),
                           " needs ", bytes ? absl::StrCat(*bytes) : "an impossible number of",
                           " bytes, but data_offsets [", entry.begin, ", ", entry.end, "] hold ",
                           entry.end - entry.begin));
  }
  return entry;
}

absl::Status read_metadata(const json& value, const HeaderError& error, SafetensorsHeader* header) {
  if (value.is_null()) return absl::OkStatus();
  if (!value.is_object()) return error.file("\"__metadata__\" is not an object of strings");
  for (const auto& item : value.items()) {
    if (!item.value().is_string()) {
      return error.file(absl::StrCat("\"__metadata__\" entry ", printable(item.key()), " is ",
                                     printable_json(item.value()), ", expected a string"));
    }
    header->metadata.emplace(item.key(), item.value().get<std::string>());
  }
  return absl::OkStatus();
}

// The tensors must cover the data section exactly: no hole, no overlap, nothing behind the last
// one.
absl::Status check_layout(const SafetensorsHeader& header, uint64_t data_bytes,
                          const HeaderError& error) {
  using Item = std::pair<const std::string, TensorEntry>;
  std::vector<const Item*> order;
  order.reserve(header.tensors.size());
  for (const Item& item : header.tensors) order.push_back(&item);
  std::sort(order.begin(), order.end(), [](const Item* a, const Item* b) {
    return std::pair(a->second.begin, a->second.end) < std::pair(b->second.begin, b->second.end);
  });
  uint64_t position = 0;
  for (const Item* item : order) {
    const TensorEntry& entry = item->second;
    if (entry.begin != position) {
      return error.tensor(
          item->first, absl::StrCat("begins at data byte ", entry.begin, ", expected ", position,
                                    entry.begin < position ? " (it overlaps the tensor before it)"
                                                           : " (there is a hole before it)"));
    }
    position = entry.end;
    if (position > data_bytes) {
      return error.tensor(item->first,
                          absl::StrCat("ends at data byte ", position, ", but the file holds ",
                                       data_bytes, " data bytes; it is truncated or damaged"));
    }
  }
  if (position != data_bytes) {
    return error.file(absl::StrCat("tensors end at data byte ", position, ", but the file holds ",
                                   data_bytes, " data bytes"));
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> header_length(std::span<const std::byte> prefix, uint64_t file_bytes,
                                       const HeaderError& error) {
  if (prefix.size() < kLengthBytes || file_bytes < kLengthBytes) {
    return error.file(absl::StrCat("holds ", std::min<uint64_t>(prefix.size(), file_bytes),
                                   " bytes, too few for a safetensors file"));
  }
  uint64_t length = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) {
    length |= static_cast<uint64_t>(std::to_integer<uint8_t>(prefix[i])) << (8 * i);
  }
  if (length > kMaxHeaderBytes) {
    return error.file(absl::StrCat("says that its header has ", length, " bytes, more than the ",
                                   kMaxHeaderBytes, " allowed; it is no safetensors file"));
  }
  if (length > file_bytes - kLengthBytes || length > prefix.size() - kLengthBytes) {
    return error.file(absl::StrCat("says that its header has ", length, " bytes, but only ",
                                   file_bytes - kLengthBytes, " follow; it is truncated"));
  }
  return length;
}

}  // namespace

absl::StatusOr<SafetensorsHeader> parse_safetensors_header(std::span<const std::byte> prefix,
                                                           uint64_t file_bytes,
                                                           std::string_view source) {
  const HeaderError error(source);
  ASSIGN_OR_RETURN(const uint64_t length, header_length(prefix, file_bytes, error));
  const std::string_view text(reinterpret_cast<const char*>(prefix.data()) + kLengthBytes, length);
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos || text[first] != '{') {
    return error.file("its header does not begin with '{'; it is no safetensors file");
  }
  json parsed;
  RETURN_IF_ERROR(parse_json_object(text, std::string(source) + ": header", kHeaderDepth, &parsed,
                                    RepeatedKeys::kLastTop));
  SafetensorsHeader header;
  header.data_offset = kLengthBytes + length;
  for (const auto& item : parsed.items()) {
    if (item.key() == "__metadata__") {
      RETURN_IF_ERROR(read_metadata(item.value(), error, &header));
      continue;
    }
    ASSIGN_OR_RETURN(TensorEntry entry, read_entry(item.value(), item.key(), error));
    header.tensors.emplace(item.key(), std::move(entry));
  }
  RETURN_IF_ERROR(check_layout(header, file_bytes - header.data_offset, error));
  return header;
}

namespace {

std::string system_error(const std::string& path, const char* action) {
  return absl::StrCat(path, ": cannot ", action, ": ", std::strerror(errno));
}

class MappedSafetensors final : public SafetensorsFile {
 public:
  MappedSafetensors(std::string path, std::span<const std::byte> map)
      : path_(std::move(path)), map_(map) {}
  ~MappedSafetensors() override { ::munmap(const_cast<std::byte*>(map_.data()), map_.size()); }
  MappedSafetensors(const MappedSafetensors&) = delete;
  MappedSafetensors& operator=(const MappedSafetensors&) = delete;

  absl::Status read_header() {
    ASSIGN_OR_RETURN(header_, parse_safetensors_header(map_, map_.size(), path_));
    return absl::OkStatus();
  }
  const std::string& path() const override { return path_; }
  const SafetensorsHeader& header() const override { return header_; }
  std::span<const std::byte> data(const TensorEntry& entry) const override {
    return map_.subspan(header_.data_offset + entry.begin, entry.end - entry.begin);
  }
  void release(std::span<const std::byte> range) const override {
    // Only whole pages inside the range: its neighbours on the edge pages may still be wanted.
    const uintptr_t page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
    const uintptr_t begin = (reinterpret_cast<uintptr_t>(range.data()) + page - 1) / page * page;
    const uintptr_t end = reinterpret_cast<uintptr_t>(range.data() + range.size()) / page * page;
    if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
  }

 private:
  std::string path_;
  std::span<const std::byte> map_;
  SafetensorsHeader header_;
};

absl::StatusOr<std::span<const std::byte>> map_file(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    const bool missing = errno == ENOENT || errno == ENOTDIR;
    const std::string what = system_error(path, "open");
    return missing ? absl::NotFoundError(what) : absl::PermissionDeniedError(what);
  }
  struct stat info {};
  absl::Status status;
  void* map = MAP_FAILED;
  if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    status = absl::InvalidArgumentError(absl::StrCat(path, ": is not a regular file"));
  } else if (info.st_size == 0) {
    status = absl::InvalidArgumentError(absl::StrCat(path, ": is empty"));
  } else {
    map = ::mmap(nullptr, static_cast<size_t>(info.st_size), PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) status = absl::ResourceExhaustedError(system_error(path, "map"));
  }
  ::close(fd);
  if (!status.ok()) return status;
  return std::span(static_cast<const std::byte*>(map), static_cast<size_t>(info.st_size));
}

}  // namespace

absl::StatusOr<std::shared_ptr<const SafetensorsFile>> SafetensorsFile::open(
    const std::string& path) {
  ASSIGN_OR_RETURN(const std::span<const std::byte> map, map_file(path));
  auto file = std::make_shared<MappedSafetensors>(path, map);
  RETURN_IF_ERROR(file->read_header());
  return std::shared_ptr<const SafetensorsFile>(std::move(file));
}

absl::Status write_safetensors(const std::string& path, std::span<const TensorToWrite> tensors,
                               const std::map<std::string, std::string>& metadata, int mode) {
  const HeaderError error(path);
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::set<std::string> names = {"__metadata__"};
  uint64_t position = 0;
  for (const TensorToWrite& tensor : tensors) {
    const std::optional<uint64_t> bits = bits_of(tensor.dtype);
    const std::optional<uint64_t> bytes =
        bits ? bytes_of(tensor.shape, *bits) : std::optional<uint64_t>();
    if (!bytes || *bytes != tensor.data.size()) {
      return error.tensor(
          tensor.name, absl::StrCat("has ", tensor.data.size(), " bytes, which do not fit dtype ",
                                    tensor.dtype, " and shape ", shape_text(tensor.shape)));
    }
    if (!names.insert(tensor.name).second) return error.tensor(tensor.name, "is given twice");
    header[tensor.name] = {{"dtype", tensor.dtype},
                           {"shape", tensor.shape},
                           {"data_offsets", {position, position + *bytes}}};
    position += *bytes;
  }
  std::string text = header.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  std::string content;
  content.reserve(kLengthBytes + text.size() + position);
  for (size_t i = 0; i < kLengthBytes; ++i) {
    content.push_back(static_cast<char>(text.size() >> (8 * i) & 0xff));
  }
  content += text;
  for (const TensorToWrite& tensor : tensors) {
    content.append(reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size());
  }
  return write_file_atomically(path, content, mode);
}

}  // namespace conclave::model
