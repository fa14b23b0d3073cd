#include "cli/shape_file.h"

#include <filesystem>
#include <system_error>

#include "base/file.h"

namespace conclave::cli {

absl::StatusOr<std::string> read_shape(const std::string& name, std::string* path) {
  namespace fs = std::filesystem;
  *path = name;
  if (!fs::exists(name)) {
    std::error_code error;
    const fs::path self = fs::read_symlink("/proc/self/exe", error);
    const fs::path root = self.parent_path().parent_path();
    for (const fs::path& folder : {fs::path("bench/shapes"), root / "share/conclave/shapes",
                                   root.parent_path().parent_path() / "bench/shapes"}) {
      const fs::path file = folder / (name + ".json");
      if (fs::exists(file, error)) *path = file.string();
    }
  }
  return read_file(*path, 1 << 20);
}

}  // namespace conclave::cli
