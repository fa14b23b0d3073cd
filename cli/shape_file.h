#ifndef CONCLAVE_CLI_SHAPE_FILE_H_
#define CONCLAVE_CLI_SHAPE_FILE_H_

#include <string>

#include "absl/status/statusor.h"

namespace conclave::cli {

// The text of a shape: a file, or the name of one of bench/shapes, looked for where the build or the
// installation keeps them. *path: where it was found, for messages about its contents.
absl::StatusOr<std::string> read_shape(const std::string& name, std::string* path);

}  // namespace conclave::cli

#endif  // CONCLAVE_CLI_SHAPE_FILE_H_
