// Random damage to a valid file: the reader either still accepts a consistent file or says what is
// wrong and where; it never crashes and never shows a tensor outside the file.

#include <gtest/gtest.h>

#include <random>

#include "model/safetensors.h"
#include "tests/model/model_folder.h"

namespace conclave::model {
namespace {

// A small file with several tensors of several dtypes.
std::string valid_file() {
  TempFolder folder;
  std::map<std::string, StoredTensor> tensors;
  tensors["a.weight"] = {"F32", {3, 4}, std::string(48, 'a')};
  tensors["b.weight"] = {"BF16", {5}, std::string(10, 'b')};
  tensors["c"] = {"I64", {}, std::string(8, 'c')};
  tensors["empty"] = {"F16", {0, 7}, ""};
  EXPECT_TRUE(EditableModel::write_file(folder.file("f"), tensors).ok());
  return file_text(folder.file("f"));
}

std::string damaged(std::string bytes, std::mt19937_64* random) {
  const auto below = [&](size_t n) { return static_cast<size_t>((*random)() % n); };
  const size_t edits = 1 + below(4);
  for (size_t i = 0; i < edits && !bytes.empty(); ++i) {
    const size_t at = below(bytes.size());
    switch (below(5)) {
      case 0:
        bytes[at] = static_cast<char>((*random)());
        break;
      case 1:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
        break;
      case 2:
        bytes.resize(at);
        break;
      case 3:
        bytes.insert(at, 1, "0123456789[]{},:\"-"[below(18)]);
        break;
      default:
        bytes.erase(at, 1 + below(8));
    }
  }
  return bytes;
}

void expect_consistent_or_named(const std::string& bytes, const std::string& path) {
  const auto header = parse_safetensors_header(std::as_bytes(std::span(bytes.data(), bytes.size())),
                                               bytes.size(), path);
  if (!header.ok()) {
    EXPECT_NE(std::string(header.status().message()).find(path), std::string::npos);
    return;
  }
  uint64_t covered = 0;
  for (const auto& [name, entry] : header->tensors) {
    ASSERT_LE(entry.end, bytes.size() - header->data_offset);
    covered += entry.end - entry.begin;
  }
  EXPECT_EQ(covered, bytes.size() - header->data_offset);
}

TEST(SafetensorsProperty, RandomDamageIsAcceptedConsistentlyOrRefusedByName) {
  const std::string valid = valid_file();
  std::mt19937_64 random(20240817);
  int refused = 0;
  for (int round = 0; round < 20000; ++round) {
    const std::string bytes = damaged(valid, &random);
    expect_consistent_or_named(bytes, "some/file.safetensors");
    const auto span = std::as_bytes(std::span(bytes.data(), bytes.size()));
    if (!parse_safetensors_header(span, bytes.size(), "f").ok()) ++refused;
  }
  // Damage inside the header nearly always shows; damage inside the data never does.
  EXPECT_GT(refused, 10000);
  EXPECT_LT(refused, 20000);
}

TEST(SafetensorsProperty, EveryTruncationIsRefused) {
  const std::string valid = valid_file();
  for (size_t length = 0; length < valid.size(); ++length) {
    const std::string bytes = valid.substr(0, length);
    const auto span = std::as_bytes(std::span(bytes.data(), bytes.size()));
    EXPECT_FALSE(parse_safetensors_header(span, length, "f").ok()) << length;
  }
}

TEST(SafetensorsProperty, EveryTruncationOfAModelFileIsRefusedAtOpen) {
  TempFolder folder;
  EditableModel::golden("mixtral").write(folder);
  const std::string path = folder.file("model.safetensors");
  const std::string valid = file_text(path);
  std::mt19937_64 random(7);
  for (int round = 0; round < 60; ++round) {
    std::filesystem::resize_file(path, random() % valid.size());
    const absl::Status status = open_model(folder.path()).status();
    ASSERT_FALSE(status.ok());
    EXPECT_NE(std::string(status.message()).find(path), std::string::npos) << status;
    write_text(path, valid);
  }
}

TEST(SafetensorsProperty, DamagedHeadersOfAModelNeverCrashOpening) {
  TempFolder folder;
  EditableModel::golden("mixtral").write(folder);
  const std::string path = folder.file("model.safetensors");
  const std::string valid = file_text(path);
  std::mt19937_64 random(11);
  for (int round = 0; round < 150; ++round) {
    std::string bytes = valid;
    for (int i = 0; i < 3; ++i) bytes[8 + random() % 9000] = static_cast<char>(' ' + random() % 95);
    write_text(path, bytes);
    const absl::Status status = open_model(folder.path()).status();
    if (!status.ok()) {
      EXPECT_NE(std::string(status.message()).find(path), std::string::npos) << status;
    }
  }
}

}  // namespace
}  // namespace conclave::model
