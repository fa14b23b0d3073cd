#ifndef CONCLAVE_MODEL_LAYER_TENSORS_H_
#define CONCLAVE_MODEL_LAYER_TENSORS_H_

// The tensor names and shapes of each family's layers. Internal to model/.

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "model/model_spec.h"
#include "model/tensor_source.h"
#include "model/weights.h"

namespace conclave::model {

// "model.layers.{index}."
std::string layer_prefix(int32_t index);

// Takes every tensor that spec says layer `index` has; the first problem ends it.
absl::StatusOr<LayerTensors> take_layer(const ModelSpec& spec, int32_t index, TensorSource* source);

}  // namespace conclave::model

#endif  // CONCLAVE_MODEL_LAYER_TENSORS_H_
