#ifndef CONCLAVE_MODEL_MODEL_FOLDER_H_
#define CONCLAVE_MODEL_MODEL_FOLDER_H_

// What people type as --model, and the folder that it means.

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace conclave::model {

// The absolute, normal path of a folder with config.json, or tokenizer.json at least. The root of a
// model in the hub's cache (models--ORG--NAME) means the snapshot of its refs/main, or its only
// one. NOT_FOUND or INVALID_ARGUMENT with one sentence that says what was given instead (nothing, a
// hub id, a file, an adapter, a folder of models) and what to give.
absl::StatusOr<std::string> resolve_model_folder(const std::string& given);

// NOT_FOUND with a sentence about what a folder without config.json holds instead.
absl::Status no_model_config(const std::string& folder);

// What the model is called without --served-model-name: ORG/NAME for a snapshot in the hub's cache
// (.../models--ORG--NAME/snapshots/HASH), else the folder's own name.
std::string model_folder_name(const std::string& folder);

}  // namespace conclave::model

#endif  // CONCLAVE_MODEL_MODEL_FOLDER_H_
