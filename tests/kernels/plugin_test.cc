// Finding and loading a device back end: each thing that may be missing is a sentence.

#include "kernels/device/plugin.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "kernels/device/device.h"
#include "tests/support/fake_device_ops.h"

namespace conclave::device {
namespace {

using testing::HasSubstr;

std::string message_of(const absl::Status& status) { return std::string(status.message()); }

TEST(PluginTest, AMissingFileSaysWhatToDo) {
  const auto library = Library::load("/nowhere/conclave_cuda.so");
  EXPECT_EQ(library.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(message_of(library.status()), HasSubstr("/nowhere/conclave_cuda.so"));
  EXPECT_THAT(message_of(library.status()), HasSubstr("--device cpu"));
}

TEST(PluginTest, AFileThatIsNoPluginIsRefused) {
  const std::string path = testing::TempDir() + "/no_plugin.so";
  std::ofstream(path) << "not an ELF file";
  const auto library = Library::load(path);
  EXPECT_EQ(library.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(message_of(library.status()), HasSubstr("no_plugin.so"));
}

TEST(PluginTest, ALibraryWithoutTheEntryIsRefused) {
  const auto library = Library::load("/lib/x86_64-linux-gnu/libm.so.6");
  EXPECT_EQ(library.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(message_of(library.status()), HasSubstr("another version"));
}

TEST(PluginTest, TheEnvironmentNamesThePlugin) {
  ASSERT_EQ(setenv("CONCLAVE_CUDA_PLUGIN", "/some/plugin.so", 1), 0);
  EXPECT_EQ(cuda_plugin_path(), "/some/plugin.so");
  unsetenv("CONCLAVE_CUDA_PLUGIN");
  EXPECT_THAT(cuda_plugin_path(), HasSubstr("conclave_cuda.so"));
}

// Where the plugin was built, it loads also without a driver, and says that there is no GPU.
TEST(PluginTest, TheBuiltPluginLoadsOnAnyMachine) {
  const std::string path = cuda_plugin_path();
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " was not built";
  const auto library = Library::load(path);
  ASSERT_TRUE(library.ok()) << library.status();
  EXPECT_STREQ((*library)->ops().name, "cuda-sm90");
  const auto count = (*library)->device_count();
  if (count.ok()) GTEST_SKIP() << "this machine has a GPU";
  EXPECT_EQ(count.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(message_of(count.status()), HasSubstr("no usable GPU"));
  const auto device = Device::create(*library, 0, ComputeType::kF32);
  EXPECT_EQ(device.status().code(), absl::StatusCode::kUnavailable);
}

TEST(DeviceTest, MemoryIsGivenBackAndMoves) {
  const auto device = Device::create(Library::of(fake_device_ops()), 0, ComputeType::kBF16);
  ASSERT_TRUE(device.ok()) << device.status();
  EXPECT_EQ((*device)->act_dtype(), DType::kBF16);
  auto memory = (*device)->alloc(1000, "a test");
  ASSERT_TRUE(memory.ok()) << memory.status();
  std::byte* data = memory->data();
  Memory moved = *std::move(memory);
  EXPECT_EQ(moved.data(), data);
  EXPECT_EQ(moved.bytes(), 1000u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(data) % 256, 0u);
  moved = Memory();
  EXPECT_EQ(moved.data(), nullptr);
}

TEST(DeviceTest, ADeviceThatIsNotThereIsASentence) {
  const auto device = Device::create(Library::of(fake_device_ops()), 99, ComputeType::kF32);
  EXPECT_EQ(device.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(message_of(device.status()), HasSubstr("99"));
}

}  // namespace
}  // namespace conclave::device
