#include "kernels/reference/reference_kernels.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/element.h"
#include "kernels/reference/reference_attention.h"
#include "kernels/sampling_row.h"
#include "kernels/shape_checks.h"

namespace conclave::kernels {
namespace {

float* f32_row(const MatrixView& m, int64_t row) {
  return static_cast<float*>(m.data) + row * m.stride;
}
const float* f32_row(const ConstMatrixView& m, int64_t row) {
  return static_cast<const float*>(m.data) + row * m.stride;
}

double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

// Dot product of weight row n with k values of x, starting at element x_first.
double dot(const PackedMatrix& weight, int64_t n, const void* x, DType x_dtype, int64_t x_first) {
  double sum = 0;
  for (int64_t i = 0; i < weight.k; ++i) {
    sum += static_cast<double>(load_element(weight.data, weight.dtype, n * weight.k + i)) *
           static_cast<double>(load_element(x, x_dtype, x_first + i));
  }
  return sum;
}

// Packed layout: row-major [n, k] in the stored dtype; gate rows come before up rows.
class ReferenceKernels final : public KernelSet {
 public:
  explicit ReferenceKernels(ComputeType compute_type) : compute_type_(compute_type) {}

  std::string_view name() const override { return "reference"; }
  ComputeType compute_type() const override { return compute_type_; }
  absl::Status supports(const AttentionShape& shape) const override { return check_shape(shape); }
  absl::Status supports(const RouterShape& shape) const override { return check_shape(shape); }

  DType stored_dtype(DType file_dtype) const override {
    return compute_type_ == ComputeType::kBF16 ? DType::kBF16 : file_dtype;
  }
  size_t packed_bytes(int64_t n, int64_t k, DType stored) const override {
    return static_cast<size_t>(n) * static_cast<size_t>(k) * dtype_bytes(stored);
  }
  PackedMatrix pack_matrix(std::span<const WeightRows> parts, DType stored,
                           std::byte* out) const override {
    int64_t written = 0;
    int64_t rows = 0;
    for (const WeightRows& part : parts) {
      for (int64_t i = 0; i < part.rows * part.cols; ++i) {
        store_element(out, stored, written++, load_element(part.data, part.dtype, i));
      }
      rows += part.rows;
    }
    return {out, stored, rows, parts.empty() ? 0 : parts[0].cols};
  }
  PackedMatrix pack_gate_up(const WeightRows& gate, const WeightRows& up, DType stored,
                            std::byte* out) const override {
    const WeightRows parts[] = {gate, up};
    return pack_matrix(parts, stored, out);
  }

  void embed(std::span<const int32_t> ids, const ConstMatrixView& table,
             const MatrixView& out) override {
    for (size_t t = 0; t < ids.size(); ++t) {
      const int64_t id = std::clamp<int64_t>(ids[t], 0, table.rows - 1);
      for (int64_t i = 0; i < table.cols; ++i) {
        f32_row(out, static_cast<int64_t>(t))[i] =
            load_element(table.data, table.dtype, id * table.stride + i);
      }
    }
  }

  void embed(std::span<const int32_t> ids, const PackedMatrix& table, const MatrixView& out) override {
    embed(ids, ConstMatrixView(table.data, table.dtype, table.n, table.k, table.k), out);
  }

  void rms_norm(const ConstMatrixView& x, const float* weight, float eps,
                const MatrixView& out) override {
    for (int64_t t = 0; t < x.rows; ++t) {
      const float* row = f32_row(x, t);
      double sum = 0;
      for (int64_t i = 0; i < x.cols; ++i)
        sum += static_cast<double>(row[i]) * static_cast<double>(row[i]);
      const double inverse =
          1.0 / std::sqrt(sum / static_cast<double>(x.cols) + static_cast<double>(eps));
      for (int64_t i = 0; i < x.cols; ++i) {
        const double y = static_cast<double>(weight[i]) * static_cast<double>(row[i]) * inverse;
        store_element(out.data, out.dtype, t * out.stride + i, static_cast<float>(y));
      }
    }
  }

  void matmul(const ConstMatrixView& x, const PackedMatrix& weight, const float* bias,
              const MatrixView& out) override {
    for (int64_t t = 0; t < x.rows; ++t) {
      for (int64_t n = 0; n < weight.n; ++n) {
        const double sum = dot(weight, n, x.data, x.dtype, t * x.stride);
        f32_row(out, t)[n] =
            static_cast<float>(sum + (bias != nullptr ? static_cast<double>(bias[n]) : 0.0));
      }
    }
  }

  void append_kv(const AttentionShape& shape, const AttentionParameters& parameters,
                 const AttentionBatch& batch, const MatrixView& qkv, const KvLayerView& kv,
                 const MatrixView& q_out) override {
    reference::append_kv(shape, parameters, batch, qkv, kv, q_out);
  }
  size_t kv_block_bytes(const AttentionShape& shape) const override {
    return reference::kv_block_bytes(shape, act_dtype());
  }
  void attention(const AttentionShape& shape, const AttentionBatch& batch, const ConstMatrixView& q,
                 const KvLayerView& kv, const MatrixView& out) override {
    reference::attention(shape, batch, q, kv, out);
  }

  void route(const RouterShape& shape, const ConstMatrixView& logits, std::span<int32_t> ids,
             std::span<float> weights) override {
    for (int64_t t = 0; t < logits.rows; ++t) {
      route_row(shape, f32_row(logits, t), ids.data() + t * shape.top_k,
                weights.data() + t * shape.top_k);
    }
  }

  void expert_ffn(std::span<const ExpertGroup> groups, const ConstMatrixView& input,
                  const MatrixView& output) override {
    for (const ExpertGroup& group : groups) {
      for (size_t i = 0; i < group.in_rows.size(); ++i) {
        expert_row(*group.expert, input, group.in_rows[i], output, group.out_rows[i]);
      }
    }
  }

  void combine(const CombineInput& input, const MatrixView& out) override {
    for (int64_t t = 0; t < out.rows; ++t) {
      for (int64_t i = 0; i < out.cols; ++i) {
        double sum = 0;
        for (int64_t j = t * input.top_k; j < (t + 1) * input.top_k; ++j) {
          const auto at = static_cast<size_t>(j);
          const ConstMatrixView& source = input.sources[static_cast<size_t>(input.source_of[at])];
          const float value =
              load_element(source.data, source.dtype, input.row_of[at] * source.stride + i);
          sum += static_cast<double>(input.weights[at]) * static_cast<double>(value);
        }
        if (input.shared.data != nullptr) {
          const double gate = input.shared_gate != nullptr
                                  ? sigmoid(static_cast<double>(input.shared_gate[t]))
                                  : 1.0;
          sum += gate * static_cast<double>(load_element(input.shared.data, input.shared.dtype,
                                                         t * input.shared.stride + i));
        }
        f32_row(out, t)[i] = static_cast<float>(sum);
      }
    }
  }

  void add(const MatrixView& r, const ConstMatrixView& a) override {
    for (int64_t t = 0; t < r.rows; ++t) {
      for (int64_t i = 0; i < r.cols; ++i) f32_row(r, t)[i] += f32_row(a, t)[i];
    }
  }

  void gather_rows(const ConstMatrixView& x, std::span<const int32_t> rows,
                   const MatrixView& out) override {
    for (size_t i = 0; i < rows.size(); ++i) {
      std::copy_n(f32_row(x, rows[i]), x.cols, f32_row(out, static_cast<int64_t>(i)));
    }
  }

  void sample(const MatrixView& logits, std::span<const SamplingRow> rows,
              std::span<SamplingResult> results) override {
    for (size_t i = 0; i < rows.size(); ++i) {
      sample_row(f32_row(logits, static_cast<int64_t>(i)), logits.cols, rows[i], sampling_,
                 results[i]);
    }
  }

  absl::Status reserve(const Limits& limits) override {
    sampling_.reserve(limits.vocab);
    return absl::OkStatus();
  }

 private:
  static void route_row(const RouterShape& shape, const float* logits, int32_t* ids,
                        float* weights) {
    std::vector<int32_t> order(static_cast<size_t>(shape.experts));
    for (int32_t e = 0; e < shape.experts; ++e) order[static_cast<size_t>(e)] = e;
    // NaN counts as the smallest logit, so that the order stays strict.
    const auto key = [&](int32_t e) {
      return std::isnan(logits[e]) ? -std::numeric_limits<float>::infinity() : logits[e];
    };
    std::sort(order.begin(), order.end(),
              [&](int32_t a, int32_t b) { return key(a) > key(b) || (key(a) == key(b) && a < b); });
    const double max = static_cast<double>(key(order[0]));
    double sum_all = 0;
    for (int32_t e = 0; e < shape.experts; ++e)
      sum_all += std::exp(static_cast<double>(logits[e]) - max);
    std::sort(order.begin(), order.begin() + shape.top_k);
    double sum_chosen = 0;
    for (int32_t i = 0; i < shape.top_k; ++i) {
      sum_chosen += std::exp(static_cast<double>(logits[order[static_cast<size_t>(i)]]) - max);
    }
    for (int32_t i = 0; i < shape.top_k; ++i) {
      ids[i] = order[static_cast<size_t>(i)];
      const double p = std::exp(static_cast<double>(logits[ids[i]]) - max);
      weights[i] = static_cast<float>(p / (shape.normalize_top_k ? sum_chosen : sum_all));
    }
  }

  void expert_row(const ExpertWeights& expert, const ConstMatrixView& input, int64_t in_row,
                  const MatrixView& output, int64_t out_row) const {
    const int64_t width = expert.gate_up.n / 2;
    std::vector<float> hidden(static_cast<size_t>(width));
    for (int64_t i = 0; i < width; ++i) {
      const double gate = dot(expert.gate_up, i, input.data, input.dtype, in_row * input.stride);
      const double up =
          dot(expert.gate_up, width + i, input.data, input.dtype, in_row * input.stride);
      hidden[static_cast<size_t>(i)] =
          round_to_dtype(static_cast<float>(gate * sigmoid(gate) * up), act_dtype());
    }
    for (int64_t n = 0; n < expert.down.n; ++n) {
      const double sum = dot(expert.down, n, hidden.data(), DType::kF32, 0);
      store_element(output.data, output.dtype, out_row * output.stride + n,
                    static_cast<float>(sum));
    }
  }

  ComputeType compute_type_;
  SamplingScratch sampling_;
};

}  // namespace

std::unique_ptr<KernelSet> make_reference_kernels(ComputeType compute_type) {
  return std::make_unique<ReferenceKernels>(compute_type);
}

}  // namespace conclave::kernels
