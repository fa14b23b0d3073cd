#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>

#include "base/deadline.h"
#include "base/dtype.h"
#include "base/file.h"
#include "base/host_port.h"
#include "base/status_macros.h"
#include "base/wire.h"

namespace conclave {
namespace {

TEST(Bf16, RoundsToNearestEven) {
  EXPECT_EQ(float_to_bf16(1.0f).bits, 0x3f80);
  EXPECT_EQ(float_to_bf16(std::bit_cast<float>(0x3f808000u)).bits, 0x3f80);  // tie, even below
  EXPECT_EQ(float_to_bf16(std::bit_cast<float>(0x3f818000u)).bits, 0x3f82);  // tie, even above
  EXPECT_EQ(float_to_bf16(std::bit_cast<float>(0x3f808001u)).bits, 0x3f81);
  EXPECT_TRUE(std::isinf(round_to_bf16(3.4e38f)));
}

TEST(Bf16, KeepsNanAndInfinity) {
  EXPECT_TRUE(std::isnan(round_to_bf16(std::numeric_limits<float>::quiet_NaN())));
  EXPECT_TRUE(std::isnan(round_to_bf16(std::bit_cast<float>(0x7f800001u))));
  EXPECT_EQ(round_to_bf16(-std::numeric_limits<float>::infinity()), -std::numeric_limits<float>::infinity());
}

TEST(Bf16, EveryValueSurvivesARoundTrip) {
  for (uint32_t bits = 0; bits < 0x10000u; ++bits) {
    const float value = bf16_to_float(bf16{static_cast<uint16_t>(bits)});
    if (std::isnan(value)) continue;
    ASSERT_EQ(float_to_bf16(value).bits, bits);
  }
}

TEST(F16, MatchesTheCompilersConversion) {
  for (uint32_t bits = 0; bits < 0x10000u; ++bits) {
    _Float16 half;
    const uint16_t raw = static_cast<uint16_t>(bits);
    std::memcpy(&half, &raw, 2);
    const float expected = static_cast<float>(half);
    const float found = f16_to_float(raw);
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(found));
    } else {
      ASSERT_EQ(std::bit_cast<uint32_t>(expected), std::bit_cast<uint32_t>(found)) << bits;
    }
  }
}

TEST(Wire, ReaderRefusesToReadBeyondTheEnd) {
  std::vector<std::byte> bytes;
  WireWriter out(&bytes);
  out.put(int32_t{7});
  out.put_string("abc");
  for (size_t cut = 0; cut < bytes.size(); ++cut) {
    WireReader in{std::span<const std::byte>(bytes).first(cut)};
    in.get<int32_t>();
    in.get_string();
    EXPECT_FALSE(in.ok()) << cut;
  }
}

TEST(Wire, LyingCountFailsWithoutAllocating) {
  std::vector<std::byte> bytes;
  WireWriter out(&bytes);
  out.put(uint32_t{0xffffffff});
  WireReader in(bytes);
  EXPECT_TRUE(in.get_array<int64_t>().empty());
  EXPECT_FALSE(in.ok());
}

TEST(File, ReplacesAtomicallyAndNamesThePathInErrors) {
  const std::string path = (std::filesystem::temp_directory_path() / "conclave_base_test_file").string();
  ASSERT_TRUE(write_file_atomically(path, "one").ok());
  ASSERT_TRUE(write_file_atomically(path, "two").ok());
  EXPECT_EQ(read_file(path).value(), "two");
  EXPECT_EQ(read_file(path, 2).status().code(), absl::StatusCode::kResourceExhausted);
  std::filesystem::remove(path);
  const absl::Status missing = read_file(path).status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_NE(missing.message().find(path), absl::string_view::npos);
}

TEST(Deadline, ExpiresAndRemembersItsAge) {
  const Deadline past = Deadline::after_ms(0);
  EXPECT_TRUE(past.expired());
  EXPECT_EQ(past.remaining().count(), 0);
  EXPECT_GE(past.age_seconds(), 0.0);
  EXPECT_FALSE(Deadline::after_ms(60000).expired());
}

absl::StatusOr<int> twice(absl::StatusOr<int> in) {
  ASSIGN_OR_RETURN(const int value, std::move(in));
  RETURN_IF_ERROR(value < 0 ? absl::OutOfRangeError("negative") : absl::OkStatus());
  return 2 * value;
}

TEST(StatusMacros, LeaveTheFunctionOnError) {
  EXPECT_EQ(twice(21).value(), 42);
  EXPECT_EQ(twice(absl::NotFoundError("x")).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(twice(-1).status().code(), absl::StatusCode::kOutOfRange);
}

TEST(HostPort, BracketsIpv6Alone) {
  EXPECT_EQ(join_host_port("127.0.0.1", 80), "127.0.0.1:80");
  EXPECT_EQ(join_host_port("::1", 80), "[::1]:80");
  EXPECT_EQ(join_host_port("[::1]", 80), "[::1]:80");
  EXPECT_EQ(without_brackets("[::1]"), "::1");
  EXPECT_EQ(without_brackets("node7"), "node7");
}

}  // namespace
}  // namespace conclave
