#include "model/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/model/model_folder.h"

namespace conclave::model {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

// The bytes of a file with this header text and so many data bytes.
std::string file_of(const std::string& header, size_t data_bytes) {
  std::string out;
  for (int i = 0; i < 8; ++i) out.push_back(static_cast<char>(header.size() >> (8 * i) & 0xff));
  return out + header + std::string(data_bytes, 'x');
}

absl::StatusOr<SafetensorsHeader> parse(const std::string& bytes) {
  return parse_safetensors_header(std::as_bytes(std::span(bytes.data(), bytes.size())),
                                  bytes.size(), "w.safetensors");
}

std::string entry(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}";
}

TEST(SafetensorsHeader, ReadsTensorsMetadataAndPadding) {
  auto header =
      parse(file_of(R"({"__metadata__":{"format":"pt"},"b":)" + entry("F32", "[2]", "[0,8]") +
                        R"(,"a":)" + entry("BF16", "[3,1]", "[8,14]") + "}   ",
                    14));
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_EQ(header->metadata.at("format"), "pt");
  ASSERT_EQ(header->tensors.size(), 2u);
  EXPECT_EQ(header->tensors.at("a").dtype, "BF16");
  EXPECT_THAT(header->tensors.at("a").shape, ElementsAre(3, 1));
  EXPECT_EQ(header->tensors.at("a").begin, 8u);
  EXPECT_EQ(header->tensors.at("a").end, 14u);
}

TEST(SafetensorsHeader, AcceptsScalarsZeroSizesAndNoTensors) {
  EXPECT_TRUE(parse(file_of("{}", 0)).ok());
  EXPECT_TRUE(parse(file_of(R"({"s":)" + entry("I64", "[]", "[0,8]") + "}", 8)).ok());
  EXPECT_TRUE(parse(file_of(R"({"z":)" + entry("F16", "[0,9]", "[0,0]") + "}", 0)).ok());
}

struct Malformed {
  const char* name;
  std::string bytes;
  const char* expected;
};

std::vector<Malformed> malformed_files() {
  const std::string good = entry("F32", "[2]", "[0,8]");
  const std::string deep = R"({"a":)" + std::string(100000, '[');
  std::string oversized = file_of("{}", 0);
  oversized[4] = 1;
  return {
      {"Empty", "", "too few"},
      {"ShortLength", "\x02", "too few"},
      {"LengthOverLimit", oversized, "more than the 100000000 allowed"},
      {"LengthPastEnd", file_of("{}", 0).substr(0, 9), "truncated"},
      {"NoBrace", file_of("  []", 0), "does not begin with '{'"},
      {"BadJson", file_of(R"({"a":)", 0), "not valid JSON at byte"},
      {"BadUtf8", file_of("{\"\xff\":1}", 0), "not valid JSON"},
      {"NestingBomb", file_of(deep, 0), "nested deeper than 3"},
      {"OtherBlanks", file_of("\f{}", 0), "does not begin with '{'"},
      {"OnlyBlanks", file_of("   ", 0), "does not begin with '{'"},
      {"TwiceAtTwoPlaces",
       file_of(R"({"a":)" + good + R"(,"a":)" + entry("F32", "[2]", "[8,16]") + "}", 16),
       "tensor \"a\" begins at data byte 8, expected 0 (there is a hole before it)"},
      {"DuplicateField",
       file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"shape":[2]}})", 8),
       "\"shape\" is given twice"},
      {"NotAnObject", file_of(R"({"a":[1]})", 0), "tensor \"a\" is described by [1]"},
      {"NoDtype", file_of(R"({"a":{"shape":[2],"data_offsets":[0,8]}})", 8), "has no dtype"},
      {"NoShape", file_of(R"({"a":{"dtype":"F32","data_offsets":[0,8]}})", 8), "has no shape"},
      {"NoOffsets", file_of(R"({"a":{"dtype":"F32","shape":[2]}})", 8), "has no data_offsets"},
      {"ThreeOffsets", file_of(R"({"a":)" + entry("F32", "[2]", "[0,8,9]") + "}", 8),
       "has no data_offsets pair"},
      {"UnknownDtype", file_of(R"({"a":)" + entry("F7", "[2]", "[0,8]") + "}", 8),
       "unknown dtype \"F7\""},
      {"NegativeDim", file_of(R"({"a":)" + entry("F32", "[-2]", "[0,8]") + "}", 8), "[-2]"},
      {"FractionalDim", file_of(R"({"a":)" + entry("F32", "[2.0]", "[0,8]") + "}", 8), "[2.0]"},
      {"ShapeOverflow",
       file_of(R"({"a":)" + entry("F32", "[4294967296,4294967296,4]", "[0,8]") + "}", 8),
       "an impossible number of bytes"},
      {"HalfAByte", file_of(R"({"a":)" + entry("F4", "[3]", "[0,2]") + "}", 2),
       "an impossible number of bytes"},
      {"SizeMismatch", file_of(R"({"a":)" + entry("F32", "[3]", "[0,8]") + "}", 8),
       "needs 12 bytes, but data_offsets [0, 8] hold 8"},
      {"Reversed", file_of(R"({"a":)" + entry("F32", "[2]", "[8,0]") + "}", 8),
       "end before they begin"},
      {"Hole", file_of(R"({"a":)" + good + R"(,"b":)" + entry("U8", "[1]", "[9,10]") + "}", 10),
       "tensor \"b\" begins at data byte 9, expected 8 (there is a hole before it)"},
      {"Overlap", file_of(R"({"a":)" + good + R"(,"b":)" + entry("U8", "[4]", "[6,10]") + "}", 10),
       "tensor \"b\" begins at data byte 6, expected 8 (it overlaps"},
      {"FirstNotAtZero", file_of(R"({"a":)" + entry("U8", "[1]", "[1,2]") + "}", 2), "expected 0"},
      {"TruncatedData", file_of(R"({"a":)" + good + "}", 7), "truncated or damaged"},
      {"TrailingData", file_of(R"({"a":)" + good + "}", 9), "tensors end at data byte 8"},
      {"MetadataNumber", file_of(R"({"__metadata__":{"x":1}})", 0), "expected a string"},
      {"MetadataList", file_of(R"({"__metadata__":[]})", 0), "not an object of strings"},
  };
}

// The safetensors library reads these.
TEST(SafetensorsHeader, BlanksNullMetadataAndATensorGivenTwiceAreRead) {
  const std::string good = entry("F32", "[2]", "[0,8]");
  for (const std::string& text :
       {" \t\r\n{\"a\":" + good + "} \n\t", R"({"__metadata__":null,"a":)" + good + "}",
        R"({"a":)" + entry("I32", "[2]", "[0,8]") + R"(,"a":)" + good + "}"}) {
    const auto header = parse(file_of(text, 8));
    ASSERT_TRUE(header.ok()) << header.status();
    EXPECT_EQ(header->tensors.size(), 1u);
    EXPECT_EQ(header->tensors.at("a").dtype, "F32");  // of two, the last
    EXPECT_TRUE(header->metadata.empty());
  }
}

class MalformedHeader : public testing::TestWithParam<Malformed> {};

TEST_P(MalformedHeader, IsOneSentenceThatNamesTheFile) {
  const auto header = parse(GetParam().bytes);
  ASSERT_FALSE(header.ok());
  EXPECT_EQ(header.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(header.status().message()),
              AllOf(HasSubstr("w.safetensors: "), HasSubstr(GetParam().expected)));
}

INSTANTIATE_TEST_SUITE_P(Each, MalformedHeader, testing::ValuesIn(malformed_files()),
                         [](const auto& info) { return info.param.name; });

TEST(SafetensorsHeader, ErrorsStayShortAndPrintableWhateverTheName) {
  const std::string name(5000, 'n');
  const auto header = parse(file_of("{\"\\n\\u0007" + name + "\":1}", 0));
  ASSERT_FALSE(header.ok());
  EXPECT_LT(header.status().message().size(), 400u);
  EXPECT_EQ(std::string(header.status().message()).find('\n'), std::string::npos);
}

TEST(SafetensorsFile, MissingEmptyAndDirectoryPathsAreSentences) {
  TempFolder folder;
  const auto missing = SafetensorsFile::open(folder.file("none.safetensors"));
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kNotFound);
  write_text(folder.file("empty.safetensors"), "");
  const auto empty = SafetensorsFile::open(folder.file("empty.safetensors"));
  EXPECT_THAT(std::string(empty.status().message()), HasSubstr("is empty"));
  const auto directory = SafetensorsFile::open(folder.path());
  EXPECT_THAT(std::string(directory.status().message()), HasSubstr("not a regular file"));
}

std::vector<TensorToWrite> two_tensors(const std::string& first, const std::string& second) {
  const auto bytes = [](const std::string& text) {
    return std::as_bytes(std::span(text.data(), text.size()));
  };
  return {{"z", "F32", {2, 1}, bytes(first)}, {"a", "I32", {}, bytes(second)}};
}

TEST(WriteSafetensors, RoundTripsInTheOrderGiven) {
  TempFolder folder;
  const std::string first = "12345678";
  const std::string second = "abcd";
  const auto tensors = two_tensors(first, second);
  ASSERT_TRUE(write_safetensors(folder.file("f"), tensors, {{"k", "v"}}).ok());
  auto file = SafetensorsFile::open(folder.file("f"));
  ASSERT_TRUE(file.ok()) << file.status();
  const SafetensorsHeader& header = (*file)->header();
  EXPECT_EQ(header.data_offset % 8, 0u);
  EXPECT_EQ(header.metadata.at("k"), "v");
  EXPECT_EQ(header.tensors.at("z").begin, 0u);
  EXPECT_EQ(header.tensors.at("a").begin, 8u);
  EXPECT_THAT(header.tensors.at("z").shape, ElementsAre(2, 1));
  const auto data = (*file)->data(header.tensors.at("a"));
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(data.data()), data.size()), "abcd");
}

TEST(WriteSafetensors, SameInputGivesTheSameBytes) {
  TempFolder folder;
  const std::string first = "12345678";
  const std::string second = "abcd";
  ASSERT_TRUE(write_safetensors(folder.file("1"), two_tensors(first, second)).ok());
  ASSERT_TRUE(write_safetensors(folder.file("2"), two_tensors(first, second)).ok());
  EXPECT_EQ(file_text(folder.file("1")), file_text(folder.file("2")));
}

TEST(WriteSafetensors, RefusesWrongSizesUnknownDtypesAndRepeatedNames) {
  TempFolder folder;
  const std::string data = "12345678";
  const auto bytes = std::as_bytes(std::span(data.data(), data.size()));
  const auto write = [&](std::vector<TensorToWrite> tensors) {
    return write_safetensors(folder.file("f"), tensors);
  };
  EXPECT_FALSE(write({{"a", "F32", {3}, bytes}}).ok());
  EXPECT_FALSE(write({{"a", "F33", {2}, bytes}}).ok());
  EXPECT_FALSE(write({{"a", "F32", {2}, bytes}, {"a", "F32", {2}, bytes}}).ok());
  EXPECT_FALSE(write({{"__metadata__", "F32", {2}, bytes}}).ok());
  EXPECT_FALSE(std::filesystem::exists(folder.file("f")));
}

}  // namespace
}  // namespace conclave::model
