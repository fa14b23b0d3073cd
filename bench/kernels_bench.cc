// conclave_cuda_bench: each operation of a device back end over the shapes of a model: correctness
// against float64 on the host, law 1 bitwise across row counts, then time. Talks to the plugin
// through kernels/device_ops.h alone. Times are graph replays over rotating inputs, so that neither
// launch gaps nor the cache flatter them.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "kernels/device/device.h"
#include "kernels/device/plugin.h"

namespace conclave::device {
namespace {

constexpr int kRotations = 8;  // sets of inputs a graph runs through

struct ModelShape {
  const char* name;
  int32_t hidden, intermediate, experts, top_k, heads, kv_heads, head_dim, vocab;
};
constexpr ModelShape kModels[] = {
    {"qwen3-30b-a3b", 2048, 768, 128, 8, 32, 4, 128, 151936},
    {"mixtral-8x7b", 4096, 14336, 8, 2, 32, 8, 128, 32000},
    {"olmoe-1b-7b", 2048, 1024, 64, 8, 16, 16, 128, 50304},
};

class Bench {
 public:
  Bench(const Device& device, const ModelShape& model)
      : device_(device),
        model_(model),
        stream_(device.make_stream(false).value()),
        begin_(device.make_event(true).value()),
        end_(device.make_event(true).value()) {}

  void run(const std::vector<int32_t>& row_counts);
  int failures() const { return failures_; }

 private:
  struct Routing {
    std::vector<int32_t> ids;
    std::vector<float> weights;
    Memory device_ids, device_weights, counts, offsets, pairs;
    ExpertLists lists{};
  };

  const DeviceOps& ops() const { return device_.ops(); }
  Context* context() const { return device_.context(); }
  Stream* stream() const { return stream_.get(); }
  static RowCount rows(int32_t n) { return {n, nullptr}; }
  void ok(Status status) const {
    const absl::Status result = device_.check(status);
    if (result.ok()) return;
    std::fprintf(stderr, "conclave_cuda_bench: %s\n", result.ToString().c_str());
    std::exit(1);
  }
  void synchronize() const { ok(ops().stream_synchronize(context(), stream())); }
  Memory alloc(size_t bytes) const { return device_.alloc(bytes, "the benchmark").value(); }
  Memory random(int64_t count, DType type, float bound) {
    Memory memory = alloc(static_cast<size_t>(count) * dtype_bytes(type));
    ok(ops().fill_random(context(), stream(), memory.data(), static_cast<int32_t>(type), count,
                         ++seed_, bound));
    return memory;
  }
  template <typename T>
  static T* as(const Memory& memory) {
    return reinterpret_cast<T*>(memory.data());
  }
  template <typename T>
  std::vector<T> fetch(const void* data, size_t count) const {
    std::vector<T> out(count);
    ok(ops().copy(context(), stream(), out.data(), data, count * sizeof(T)));
    synchronize();
    return out;
  }
  template <typename T>
  Memory put(const std::vector<T>& data) const {
    Memory memory = alloc(data.size() * sizeof(T));
    ok(ops().copy(context(), stream(), memory.data(), data.data(), data.size() * sizeof(T)));
    synchronize();
    return memory;
  }
  // Microseconds of one call; `call(i)` runs on input set i.
  double time(const std::function<void(int)>& call);
  void line(const std::string& what, int32_t t, double us, double bytes, double flops) const;
  void check(bool good, const std::string& what) {
    if (good) return;
    ++failures_;
    std::printf("FAILED  %s\n", what.c_str());
  }

  void make_experts();
  Routing make_routing(int32_t t);
  void bench_experts(const std::vector<int32_t>& row_counts);
  void check_experts(const Routing& routing, const Memory& x, const Memory& out, int32_t t);
  void bench_matmul(const char* what, int64_t n, int64_t k, const std::vector<int32_t>& row_counts);
  void bench_attention(int32_t sequences, int32_t length, int32_t chunk);
  void bench_rows(int32_t t);
  void bench_sampling(int32_t t);
  void ceilings();

  const Device& device_;
  ModelShape model_;
  OwnedStream stream_;
  OwnedEvent begin_, end_;
  std::mt19937_64 random_{1};
  uint64_t seed_ = 1;
  int failures_ = 0;
  double copy_rate_ = 1;     // bytes per second, read plus written
  Memory gate_, up_, down_;  // row-major, as a file would have them
  Memory packed_up_, packed_down_, slots_;
};

double Bench::time(const std::function<void(int)>& call) {
  call(0);
  synchronize();
  ok(ops().graph_begin(context(), stream()));
  for (int i = 0; i < kRotations; ++i) call(i);
  Graph* handle = nullptr;
  ok(ops().graph_end(context(), stream(), &handle));
  const OwnedGraph graph(&device_, handle);
  std::vector<float> times;
  double total = 0;
  for (int i = 0; i < 40 && (i < 5 || total < 120); ++i) {
    ok(ops().event_record(context(), stream(), begin_.get()));
    ok(ops().graph_launch(context(), stream(), graph.get()));
    ok(ops().event_record(context(), stream(), end_.get()));
    synchronize();
    float ms = 0;
    ok(ops().event_elapsed_ms(context(), begin_.get(), end_.get(), &ms));
    if (i > 0) times.push_back(ms);
    total += static_cast<double>(ms);
  }
  std::sort(times.begin(), times.end());
  return static_cast<double>(times[times.size() / 2]) * 1e3 / kRotations;
}

void Bench::line(const std::string& what, int32_t t, double us, double bytes, double flops) const {
  std::printf("%-22s %6d %9.2f us %9.1f GB/s %5.1f %% of copy %8.1f TFLOP/s\n", what.c_str(), t, us,
              bytes / us * 1e-3, bytes / us * 1e6 / copy_rate_ * 100, flops / us * 1e-6);
  std::fflush(stdout);
}

void Bench::ceilings() {
  constexpr size_t kBytes = size_t{1} << 30;
  const Memory a = random(kBytes / 2, DType::kBF16, 1), b = alloc(kBytes);
  // A kernel's copy (16 bytes per thread) and the driver's; the faster one is the ceiling.
  const double kernel = time([&](int) {
    ok(ops().convert(context(), stream(), a.data(), kTypeBF16, b.data(), kTypeBF16, kBytes / 2));
  });
  const double driver =
      time([&](int) { ok(ops().copy(context(), stream(), b.data(), a.data(), kBytes)); });
  copy_rate_ = 2.0 * kBytes / std::min(kernel, driver) * 1e6;
  std::printf("copy %.1f GB/s (read + written; kernel %.1f, driver %.1f)\n", copy_rate_ * 1e-9,
              2.0 * kBytes / kernel * 1e-3, 2.0 * kBytes / driver * 1e-3);
}

void Bench::make_experts() {
  const int64_t h = model_.hidden, w = model_.intermediate, e = model_.experts;
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

Bench::Routing Bench::make_routing(int32_t t) {
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

float value(const std::vector<uint16_t>& data, size_t i) { return bf16_to_float(bf16{data[i]}); }

// A few pairs against float64 with the rounding points of docs/numerics.md.
void Bench::check_experts(const Routing& routing, const Memory& x, const Memory& out, int32_t t) {
  const auto h = static_cast<size_t>(model_.hidden), w = static_cast<size_t>(model_.intermediate);
  double difference = 0, norm = 0;
  const size_t pairs = routing.ids.size();
  for (size_t p = 0; p < pairs; p += std::max<size_t>(1, pairs / 5)) {
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

void Bench::bench_experts(const std::vector<int32_t>& row_counts) {
  const int64_t h = model_.hidden, w = model_.intermediate;
  const int32_t k = model_.top_k, most = row_counts.back();
  make_experts();
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
    check_experts(routings[0], x, out, t);
    const auto got = fetch<uint16_t>(out.data(), static_cast<size_t>(t * k) * row_bytes / 2);
    if (expected.empty()) {
      expected = got;
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
    line("experts", t, us,
         experts_read / kRotations * 6.0 * static_cast<double>(w * h) +
             pairs * static_cast<double>(2 * h + 2 * w + 2 * h),
         pairs * 6.0 * static_cast<double>(w * h));
  }
  for (Memory* memory : {&gate_, &up_, &down_, &packed_up_, &packed_down_}) *memory = Memory();
}

void Bench::bench_matmul(const char* what, int64_t n, int64_t k,
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
    } else {
      const bool same = std::memcmp(got.data(), expected.data(), got.size() * 4) == 0;
      check(same, std::string(what) + ": rows of a batch of " + std::to_string(t) +
                      " differ from those of a larger one");
      if (!same) {
        size_t count = 0;
        for (size_t i = 0; i < got.size(); ++i) count += got[i] != expected[i] ? 1 : 0;
        std::printf("        %zu of %zu elements\n", count, got.size());
      }
    }
    line(what, t, time(run), static_cast<double>(bytes) + static_cast<double>(t) * (2 * k + 4 * n),
         2.0 * t * static_cast<double>(n * k));
  }
}

void Bench::bench_attention(int32_t sequences, int32_t length, int32_t chunk) {
  const AttentionShape shape{model_.heads,
                             model_.kv_heads,
                             model_.head_dim,
                             model_.head_dim,
                             0,
                             kQkNormNone,
                             1.0f / std::sqrt(static_cast<float>(model_.head_dim)),
                             1e-6f,
                             0};
  const int32_t blocks = (length + 15) / 16;
  const size_t block_bytes = ops().kv_block_bytes(context(), &shape);
  const Memory cache =
      random(static_cast<int64_t>(block_bytes / 2) * blocks * sequences, DType::kBF16, 1.0f);
  std::vector<AttentionRow> row;
  std::vector<AttentionChunk> chunks;
  std::vector<int32_t> ids(static_cast<size_t>(blocks * sequences));
  std::iota(ids.begin(), ids.end(), 0);
  std::shuffle(ids.begin(), ids.end(), random_);
  for (int32_t s = 0; s < sequences; ++s) {
    chunks.push_back({static_cast<int32_t>(row.size()), chunk, length - chunk, s * blocks});
    for (int32_t i = 0; i < chunk; ++i) row.push_back({length - chunk + i, s * blocks});
  }
  const Memory device_row = put(row), device_chunks = put(chunks), device_ids = put(ids);
  const auto t = static_cast<int32_t>(row.size());
  const AttentionBatch batch{rows(t),
                             rows(sequences),
                             as<AttentionRow>(device_row),
                             as<AttentionChunk>(device_chunks),
                             as<int32_t>(device_ids),
                             chunk,
                             length};
  const int64_t width = int64_t{model_.heads} * model_.head_dim;
  const Memory q = random(t * width, DType::kBF16, 1.7f);
  const Memory out = alloc(static_cast<size_t>(t * width) * 2);
  const KvLayer kv{cache.data(), static_cast<int64_t>(block_bytes)};
  const double us = time([&](int) {
    ok(ops().attention(context(), stream(), &shape, &batch, q.data(), &kv, out.data()));
  });
  const double keys = chunk == 1 ? length : (static_cast<double>(length) - chunk / 2.0);
  const double kv_bytes = static_cast<double>(block_bytes) * blocks * sequences;
  line("attention " + std::to_string(length) + (chunk == 1 ? " decode" : " prefill"), t, us,
       kv_bytes + 4.0 * t * static_cast<double>(width),
       4.0 * keys * t * static_cast<double>(width));
}

void Bench::bench_rows(int32_t t) {
  const int64_t h = model_.hidden;
  const Memory residual = random(t * h, DType::kF32, 1), addend = random(t * h, DType::kF32, 1);
  const Memory weight = random(h, DType::kF32, 1), out = alloc(static_cast<size_t>(t * h) * 4);
  line("add + rms_norm", t, time([&](int) {
         ok(ops().add_rms_norm(context(), stream(), rows(t), h, as<float>(residual),
                               as<float>(addend), as<float>(weight), 1e-6f, out.data()));
       }),
       static_cast<double>(t * h) * 14, 0);
  const Routing routing = make_routing(t);
  const Memory pair_rows = random(int64_t{t} * model_.top_k * h, DType::kBF16, 1);
  const CombineSources sources{pair_rows.data(), nullptr, nullptr, 0};
  line("combine", t, time([&](int) {
         ok(ops().combine(context(), stream(), rows(t), h, model_.top_k,
                          as<int32_t>(routing.device_ids), as<float>(routing.device_weights),
                          &sources, nullptr, nullptr, 1, as<float>(out)));
       }),
       static_cast<double>(t * h) * (2 * model_.top_k + 8), 0);
  const Memory x = random(t * h, DType::kBF16, 1.7f);
  const Memory gate = random(int64_t{model_.experts} * h, DType::kBF16, 0.05f);
  const size_t bytes = ops().packed_bytes(context(), model_.experts, h, kTypeBF16);
  const Memory packed = alloc(bytes);
  const WeightPart part{gate.data(), kTypeBF16, model_.experts, h};
  ok(ops().pack_matrix(context(), stream(), &part, 1, kTypeBF16, packed.data()));
  const PackedMatrix matrix{packed.data(), kTypeBF16, model_.experts, h};
  const RouterShape router{model_.experts, model_.top_k, 1};
  line("route + lists", t, time([&](int) {
         ok(ops().route(context(), stream(), &router, rows(t), x.data(), &matrix,
                        as<int32_t>(routing.device_ids), as<float>(routing.device_weights),
                        &routing.lists));
       }),
       static_cast<double>(bytes), 2.0 * t * static_cast<double>(model_.experts * h));
}

void Bench::bench_sampling(int32_t t) {
  // As flat as a model gets, and with a peak.
  std::vector<float> normal(static_cast<size_t>(t) * static_cast<size_t>(model_.vocab));
  std::normal_distribution<float> distribution(0, 3);
  for (float& x : normal) x = distribution(random_);
  const Memory peaked = put(normal);
  const Memory flat = random(int64_t{t} * model_.vocab, DType::kF32, 8);
  const Memory results = alloc(static_cast<size_t>(t) * sizeof(SamplingResult));
  for (const int kind : {0, 1, 2, 3}) {
    std::vector<SamplingRow> wanted(static_cast<size_t>(t));
    for (SamplingRow& row : wanted) {
      row = {};
      row.temperature = kind == 0 ? 0.0f : 1.0f;
      row.top_p = kind >= 2 ? 0.9f : 1.0f;
      row.repetition_penalty = 1;
      row.top_logprobs = row.target = -1;
      row.seed = 5;
    }
    const Memory device_wanted = put(wanted);
    const char* names[] = {"sample greedy", "sample", "sample top-p", "sample top-p, flat"};
    const Memory& logits = kind == 3 ? flat : peaked;
    line(names[kind], t, time([&](int) {
           ok(ops().sample(context(), stream(), rows(t), model_.vocab, as<float>(logits),
                           as<SamplingRow>(device_wanted), nullptr, nullptr,
                           as<SamplingResult>(results)));
         }),
         static_cast<double>(t) * model_.vocab * 4, 0);
  }
}

void Bench::run(const std::vector<int32_t>& row_counts) {
  std::printf("%s on %s\n", model_.name, device_.info().name);
  Limits limits{};
  const int64_t most = row_counts.back();
  limits.max_rows = most;
  limits.max_expert_rows = most * model_.top_k;
  limits.hidden = model_.hidden;
  limits.max_intermediate = model_.intermediate;
  limits.vocab = model_.vocab;
  limits.max_positions = 65536;
  limits.max_head_rows = 256;
  limits.max_experts = model_.experts;
  limits.max_top_k = model_.top_k;
  limits.max_heads = model_.heads;
  limits.max_head_dim = model_.head_dim;
  ok(ops().reserve(context(), &limits));
  ceilings();
  bench_experts(row_counts);
  const int64_t q = int64_t{model_.heads} * model_.head_dim;
  const int64_t kv = int64_t{model_.kv_heads} * model_.head_dim;
  bench_matmul("qkv", q + 2 * kv, model_.hidden, row_counts);
  bench_matmul("o", model_.hidden, q, row_counts);
  bench_matmul("head", model_.vocab, model_.hidden, {1, 8, 64, 256});
  for (const int32_t t : {1, 64, 256, 4096}) bench_rows(t);
  for (const int32_t t : {1, 64}) bench_sampling(t);
  for (const int32_t s : {1, 8, 64, 128}) bench_attention(s, 1024, 1);
  bench_attention(1, 16384, 1);
  bench_attention(1, 4096, 4096);
  bench_attention(4, 8192, 1024);
}

int run_all(int argc, char** argv) {
  const std::string wanted = argc > 1 ? argv[1] : kModels[0].name;
  auto library = Library::load(cuda_plugin_path());
  if (!library.ok()) {
    std::fprintf(stderr, "conclave_cuda_bench: %s\n", library.status().ToString().c_str());
    return 1;
  }
  auto device = Device::create(*library, 0, ComputeType::kBF16);
  if (!device.ok()) {
    std::fprintf(stderr, "conclave_cuda_bench: %s\n", device.status().ToString().c_str());
    return 1;
  }
  for (const ModelShape& model : kModels) {
    if (wanted != model.name) continue;
    Bench bench(**device, model);
    bench.run({1, 2, 8, 16, 64, 256, 1024, 4096});
    std::printf("%d checks failed\n", bench.failures());
    return bench.failures() == 0 ? 0 : 2;
  }
  std::fprintf(stderr, "conclave_cuda_bench: no shape '%s'\n", wanted.c_str());
  return 1;
}

}  // namespace
}  // namespace conclave::device

int main(int argc, char** argv) { return conclave::device::run_all(argc, argv); }
