#include "coordinator/placement/placement_store.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace conclave::coordinator {
namespace {

namespace fs = std::filesystem;
using placement::PlacementTable;
using placement::RoutingProfile;

class PlacementStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string path = (fs::temp_directory_path() / "placement-store-XXXXXX").string();
    ASSERT_NE(::mkdtemp(path.data()), nullptr);
    base_ = path;
  }
  void TearDown() override { fs::remove_all(base_); }

  std::string folder() const { return (base_ / "deep" / "state").string(); }
  PlacementIdentity identity() const { return {{{1, 3}, 8, 2}, 4, "f00d", 0}; }
  PlacementTable table() const {
    PlacementTable table = PlacementTable::random({1, 3}, 8, 4, 7);
    table.set_model_fingerprint("f00d");
    table.set_epoch(5);
    return table;
  }
  RoutingProfile profile() const {
    RoutingProfile profile = *RoutingProfile::create(identity().shape);
    profile.add_row(std::vector<uint16_t>{1, 2, 3, 4});
    profile.set_model_fingerprint("f00d");
    return profile;
  }
  std::string why_not(const PlacementIdentity& wanted) const {
    const auto loaded = PlacementStore(folder()).load_table(wanted);
    EXPECT_TRUE(absl::IsInvalidArgument(loaded.status())) << loaded.status();
    return std::string(loaded.status().message());
  }

  fs::path base_;
};

TEST_F(PlacementStoreTest, WhatIsSavedIsLoaded) {
  PlacementStore store(folder());
  EXPECT_TRUE(absl::IsNotFound(store.load_table(identity()).status()));
  EXPECT_TRUE(absl::IsNotFound(store.load_profile(identity()).status()));
  ASSERT_TRUE(store.save_table(table()).ok());
  ASSERT_TRUE(store.save_profile(profile()).ok());

  const PlacementStore next(folder());
  const auto loaded = next.load_table(identity());
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->to_json(), table().to_json());
  const auto known = next.load_profile(identity());
  ASSERT_TRUE(known.ok()) << known.status();
  EXPECT_EQ(known->id(), profile().id());
}

TEST_F(PlacementStoreTest, NobodyElseReadsIt) {
  PlacementStore store(folder());
  ASSERT_TRUE(store.save_table(table()).ok());
  ASSERT_TRUE(store.save_profile(profile()).ok());
  int files = 0;
  for (const auto& entry : fs::directory_iterator(folder())) {
    struct stat info {};
    ASSERT_EQ(::stat(entry.path().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777u, 0600u) << entry.path();
    ++files;
  }
  EXPECT_EQ(files, 2) << "no temporary file is left";
}

TEST_F(PlacementStoreTest, WhatDoesNotFitIsRefusedInASentence) {
  PlacementStore store(folder());
  ASSERT_TRUE(store.save_table(table()).ok());
  PlacementIdentity other = identity();
  other.ranks = 2;
  EXPECT_NE(why_not(other).find("4 ranks, the group has 2"), std::string::npos);
  other = identity();
  other.model_fingerprint = "beef";
  EXPECT_NE(why_not(other).find("made for model f00d, this is model beef"), std::string::npos);
  other = identity();
  other.shape.experts = 16;
  EXPECT_NE(why_not(other).find("8 experts"), std::string::npos);
  other = identity();
  other.expert_slots = 1;
  EXPECT_NE(why_not(other).find("--expert-slots"), std::string::npos);
  EXPECT_EQ(why_not(other).find(folder()), 0u) << "names the file first";

  ASSERT_TRUE(store.save_profile(profile()).ok());
  other = identity();
  other.shape.top_k = 1;
  EXPECT_TRUE(absl::IsInvalidArgument(store.load_profile(other).status()));
}

TEST_F(PlacementStoreTest, ABrokenFileIsRefused) {
  PlacementStore store(folder());
  ASSERT_TRUE(store.save_table(table()).ok());
  ASSERT_TRUE(store.save_profile(profile()).ok());
  for (const auto& entry : fs::directory_iterator(folder())) {
    fs::resize_file(entry.path(), fs::file_size(entry.path()) / 2);
  }
  EXPECT_FALSE(store.load_table(identity()).ok());
  EXPECT_FALSE(store.load_profile(identity()).ok());
}

TEST_F(PlacementStoreTest, OnlyChangesAreWritten) {
  PlacementStore store(folder());
  ASSERT_TRUE(store.save_table(table()).ok());
  fs::remove_all(folder());
  ASSERT_TRUE(store.save_table(table()).ok());
  EXPECT_FALSE(fs::exists(folder())) << "the same table again";
  PlacementTable next = table();
  next.set_epoch(6);
  ASSERT_TRUE(store.save_table(next).ok());
  EXPECT_EQ(store.load_table(identity())->epoch(), 6);
}

}  // namespace
}  // namespace conclave::coordinator
