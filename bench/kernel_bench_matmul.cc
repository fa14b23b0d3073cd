// Dense products.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "bench/kernel_bench_run.h"

namespace conclave::bench {

using device::kTypeBF16;
using device::Memory;
using device::PackedMatrix;
using device::WeightPart;

namespace {
float value(const std::vector<uint16_t>& data, size_t i) { return bf16_to_float(bf16{data[i]}); }
}  // namespace

// The last row's last outputs against float64.
void KernelBench::check_matmul(const char* what, int64_t n, int64_t k, int32_t t,
                               const std::vector<float>& got, const Memory& x,
                               const Memory& source) {
  const auto input =
      fetch<uint16_t>(x.data() + static_cast<size_t>(t - 1) * k * 2, static_cast<size_t>(k));
  const int64_t some = std::min<int64_t>(n, 2000);
  const auto weight = fetch<uint16_t>(source.data() + static_cast<size_t>((n - some) * k) * 2,
                                      static_cast<size_t>(some * k));
  double difference = 0, norm = 0;
  for (int64_t i = 0; i < some; ++i) {
    double sum = 0;
    for (int64_t j = 0; j < k; ++j) {
      sum += static_cast<double>(value(weight, static_cast<size_t>(i * k + j))) *
             static_cast<double>(value(input, static_cast<size_t>(j)));
    }
    const double d =
        static_cast<double>(got[static_cast<size_t>((t - 1) * n + n - some + i)]) - sum;
    difference += d * d;
    norm += sum * sum;
  }
  const double error = std::sqrt(difference / norm);
  char text[96];
  std::snprintf(text, sizeof text, "%s: relative L2 %.2e (limit 1e-5)", what, error);
  check(error <= 1e-5, text);
}

void KernelBench::bench_matmul(const char* what, int64_t n, int64_t k,
                         const std::vector<int32_t>& row_counts) {
  const int32_t most = row_counts.back();
  const float bound = std::sqrt(3.0f / static_cast<float>(k));
  const Memory source = random(n * k, DType::kBF16, bound);
  const size_t bytes = ops().packed_bytes(context(), n, k, kTypeBF16);
  const int copies = bytes > (size_t{200} << 20) ? 1 : kRotations;
  std::vector<Memory> packed;
  const WeightPart part{source.data(), kTypeBF16, n, k};
  for (int i = 0; i < copies; ++i) {
    packed.push_back(alloc(bytes));
    ok(ops().pack_matrix(context(), stream(), &part, 1, kTypeBF16, packed.back().data()));
  }
  const Memory x = random(int64_t{most} * k, DType::kBF16, 1.7f);
  const Memory out = alloc(static_cast<size_t>(most * n) * 4);
  if (!status_.ok()) return;
  std::vector<float> expected;
  for (size_t at = row_counts.size(); at-- > 0;) {
    const int32_t t = row_counts[at];
    const auto run = [&](int i) {
      const PackedMatrix matrix{packed[static_cast<size_t>(i % copies)].data(), kTypeBF16, n, k};
      ok(ops().matmul(context(), stream(), rows(t), x.data(), &matrix, nullptr, 0, as<float>(out)));
    };
    ok(ops().fill(context(), stream(), out.data(), 0xff, out.bytes()));
    run(0);
    const auto got = fetch<float>(out.data(), static_cast<size_t>(t * n));
    if (expected.empty()) {
      expected = got;
      check_matmul(what, n, k, t, got, x, source);
    } else {
      const bool same = std::memcmp(got.data(), expected.data(), got.size() * 4) == 0;
      check(same, std::string(what) + ": rows of a batch of " + std::to_string(t) +
                      " differ from those of a larger one");
    }
    record(what, t, time(run), static_cast<double>(bytes) + static_cast<double>(t) * (2 * k + 4 * n),
         2.0 * t * static_cast<double>(n * k));
  }
}

}  // namespace conclave::bench
