// The MoE layer's products.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <numeric>

#include "bench/kernel_bench_run.h"

namespace conclave::bench {

using device::ExpertShape;
using device::ExpertSlot;
using device::kTypeBF16;
using device::Memory;
using device::RouterShape;
using device::WeightPart;

void KernelBench::make_experts() {
  const int64_t h = model_.hidden, w = model_.expert_width, e = model_.experts;
  const float scale = std::sqrt(3.0f);
  gate_ = random(e * w * h, DType::kBF16, scale / std::sqrt(static_cast<float>(h)));
  up_ = random(e * w * h, DType::kBF16, scale / std::sqrt(static_cast<float>(h)));
  down_ = random(e * w * h, DType::kBF16, scale / std::sqrt(static_cast<float>(w)));
  const size_t up_bytes = ops().packed_bytes(context(), 2 * w, h, kTypeBF16);
  const size_t down_bytes = ops().packed_bytes(context(), h, w, kTypeBF16);
  packed_up_ = alloc(up_bytes * static_cast<size_t>(e));
  packed_down_ = alloc(down_bytes * static_cast<size_t>(e));
  std::vector<ExpertSlot> slots;
  for (int64_t i = 0; i < e; ++i) {
    const int64_t at = i * w * h * 2;
    const WeightPart gate{gate_.data() + at, kTypeBF16, w, h};
    const WeightPart up{up_.data() + at, kTypeBF16, w, h};
    const WeightPart down{down_.data() + at, kTypeBF16, h, w};
    std::byte* to_up = packed_up_.data() + static_cast<size_t>(i) * up_bytes;
    std::byte* to_down = packed_down_.data() + static_cast<size_t>(i) * down_bytes;
    ok(ops().pack_gate_up(context(), stream(), &gate, &up, kTypeBF16, to_up));
    ok(ops().pack_matrix(context(), stream(), &down, 1, kTypeBF16, to_down));
    slots.push_back({to_up, to_down});
  }
  slots_ = put(slots);
}

KernelBench::Routing KernelBench::make_routing(int32_t t) {
  Routing r;
  const int32_t k = model_.top_k, e = model_.experts;
  std::vector<int32_t> order(static_cast<size_t>(e));
  std::iota(order.begin(), order.end(), 0);
  for (int32_t i = 0; i < t; ++i) {
    std::shuffle(order.begin(), order.end(), random_);
    std::sort(order.begin(), order.begin() + k);
    r.ids.insert(r.ids.end(), order.begin(), order.begin() + k);
  }
  r.weights.assign(r.ids.size(), 1.0f / static_cast<float>(k));
  r.device_ids = put(r.ids);
  r.device_weights = put(r.weights);
  r.counts = alloc(static_cast<size_t>(e) * 4);
  r.offsets = alloc(static_cast<size_t>(e + 1) * 4);
  r.pairs = alloc(r.ids.size() * 4);
  r.lists = {as<int32_t>(r.counts), as<int32_t>(r.offsets), as<int32_t>(r.pairs)};
  const RouterShape shape{e, k, 1};
  ok(ops().group_experts(context(), stream(), &shape, rows(t), as<int32_t>(r.device_ids), nullptr,
                         &r.lists));
  return r;
}

namespace {
float value(const std::vector<uint16_t>& data, size_t i) { return bf16_to_float(bf16{data[i]}); }

uint64_t fnv(const std::vector<uint16_t>& data) {
  uint64_t hash = 14695981039346656037u;
  for (const uint16_t x : data) hash = (hash ^ x) * 1099511628211u;
  return hash;
}
}  // namespace

// A few pairs against float64 with the rounding points of docs/numerics.md.
void KernelBench::check_experts(const Routing& routing, const Memory& x, const Memory& out, int32_t t) {
  const auto h = static_cast<size_t>(model_.hidden), w = static_cast<size_t>(model_.expert_width);
  double difference = 0, norm = 0;
  const size_t pairs = routing.ids.size();
  for (size_t p = 0; p < pairs; p += std::max<size_t>(1, pairs / 4)) {
    const auto e = static_cast<size_t>(routing.ids[p]);
    const auto input = fetch<uint16_t>(x.data() + p / static_cast<size_t>(model_.top_k) * h * 2, h);
    const auto gate = fetch<uint16_t>(gate_.data() + e * w * h * 2, w * h);
    const auto up = fetch<uint16_t>(up_.data() + e * w * h * 2, w * h);
    const auto down = fetch<uint16_t>(down_.data() + e * w * h * 2, w * h);
    const auto got = fetch<uint16_t>(out.data() + p * h * 2, h);
    std::vector<double> hidden(w);
    for (size_t i = 0; i < w; ++i) {
      double g = 0, u = 0;
      for (size_t j = 0; j < h; ++j) {
        g += static_cast<double>(value(gate, i * h + j)) * static_cast<double>(value(input, j));
        u += static_cast<double>(value(up, i * h + j)) * static_cast<double>(value(input, j));
      }
      hidden[i] =
          static_cast<double>(round_to_bf16(static_cast<float>(g / (1 + std::exp(-g)) * u)));
    }
    for (size_t i = 0; i < h; ++i) {
      double sum = 0;
      for (size_t j = 0; j < w; ++j) sum += static_cast<double>(value(down, i * w + j)) * hidden[j];
      const double d = static_cast<double>(value(got, i)) - sum;
      difference += d * d;
      norm += sum * sum;
    }
  }
  const double error = std::sqrt(difference / norm);
  char text[96];
  std::snprintf(text, sizeof text, "experts, %d rows: relative L2 %.2e (limit 4e-3)", t, error);
  check(error <= 4e-3, text);
}

void KernelBench::bench_experts() {
  const std::vector<int32_t>& row_counts = options_.rows;
  const int64_t h = model_.hidden, w = model_.expert_width;
  const int32_t k = model_.top_k, most = row_counts.back();
  make_experts();
  if (!status_.ok()) return;
  const Memory x = random(int64_t{most} * h, DType::kBF16, 1.7f);
  const RouterShape router{model_.experts, k, 1};
  const ExpertShape shape{kTypeBF16, h, w};
  const auto row_bytes = static_cast<size_t>(h) * 2;
  const Memory out = alloc(static_cast<size_t>(most * k) * row_bytes);
  const auto run = [&](const Routing& r, int32_t t) {
    ok(ops().expert_ffn(context(), stream(), &router, &shape, rows(t), x.data(), &r.lists,
                        as<const ExpertSlot>(slots_), out.data()));
  };
  std::vector<uint16_t> expected;  // rows of the largest batch
  for (size_t at = row_counts.size(); at-- > 0;) {
    const int32_t t = row_counts[at];
    std::vector<Routing> routings;
    // Set 0 is a prefix of the largest batch's, so that its rows must come out with the same bits.
    random_.seed(7);
    for (int i = 0; i < kRotations; ++i) {
      routings.push_back(make_routing(t));
      random_.seed(static_cast<uint64_t>(100 + i));
    }
    ok(ops().fill(context(), stream(), out.data(), 0xff, out.bytes()));
    run(routings[0], t);
    const auto got = fetch<uint16_t>(out.data(), static_cast<size_t>(t * k) * row_bytes / 2);
    if (expected.empty()) {
      expected = got;
      check_experts(routings[0], x, out, t);
      result_.expert_bits = fnv(got);
    } else {
      check(std::memcmp(got.data(), expected.data(), got.size() * 2) == 0,
            "experts: rows of a batch of " + std::to_string(t) +
                " differ from those of a larger one");
    }
    double experts_read = 0;
    for (const Routing& r : routings) {
      std::vector<int32_t> ids = r.ids;
      std::sort(ids.begin(), ids.end());
      experts_read += static_cast<double>(std::unique(ids.begin(), ids.end()) - ids.begin());
    }
    const double us = time([&](int i) { run(routings[static_cast<size_t>(i)], t); });
    const double pairs = static_cast<double>(t) * k;
    record("experts", t, us,
         experts_read / kRotations * 6.0 * static_cast<double>(w * h) +
             pairs * static_cast<double>(2 * h + 2 * w + 2 * h),
         pairs * 6.0 * static_cast<double>(w * h));
  }
  for (Memory* memory : {&gate_, &up_, &down_, &packed_up_, &packed_down_}) *memory = Memory();
}

}  // namespace conclave::bench
