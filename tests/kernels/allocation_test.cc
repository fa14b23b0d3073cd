// Law 5: after reserve() no operation of a cpu set allocates. The test binary's operator new
// counts.

#include <atomic>
#include <cstdlib>
#include <new>

#include "kernels/sampling.h"
#include "tests/kernels/attention_fixture.h"

// GCC does not see that new and delete are replaced as a pair.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
#endif

namespace {
std::atomic<int64_t> allocations{0};
void* counted(size_t bytes, size_t alignment) {
  allocations.fetch_add(1);
  const size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  void* memory = std::aligned_alloc(alignment, rounded == 0 ? alignment : rounded);
  if (memory == nullptr) std::abort();
  return memory;
}
}  // namespace

void* operator new(size_t bytes) { return counted(bytes, 16); }
void* operator new[](size_t bytes) { return counted(bytes, 16); }
void* operator new(size_t bytes, std::align_val_t alignment) {
  return counted(bytes, static_cast<size_t>(alignment));
}
void* operator new[](size_t bytes, std::align_val_t alignment) {
  return counted(bytes, static_cast<size_t>(alignment));
}
void* operator new(size_t bytes, std::align_val_t alignment, const std::nothrow_t&) noexcept {
  return counted(bytes, static_cast<size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t, std::align_val_t) noexcept { std::free(memory); }

namespace conclave::kernels {
namespace {

constexpr int64_t kRows = 40, kHidden = 64, kWidth = 48, kVocab = 500;

TestMatrix random_matrix(std::mt19937& random, DType dtype, int64_t rows, int64_t cols) {
  TestMatrix matrix(dtype, rows, cols);
  return matrix.fill(random);
}

// Everything a step of a one-layer model needs, made beforehand.
struct Step {
  explicit Step(KernelSet& kernels) : set(kernels) {
    for (int32_t t = 0; t < kRows; ++t) {
      positions.push_back({t, 0});
      ids.push_back(t % 10);
      in.push_back(t);
      first.push_back(t);
      second.push_back(static_cast<int32_t>(kRows) + t);
      source_rows.push_back(t);
      source_rows.push_back(static_cast<int32_t>(kRows) + t);
    }
    combine.sources = std::span(&source, 1);
    combine.source_of = sources;
    combine.row_of = source_rows;
    combine.weights = weights;
    combine.top_k = 2;
    requests[0] = {.temperature = 1, .top_p = 0.9f, .bias = std::span(&bias, 1), .top_logprobs = 5};
  }

  void run() {
    const AttentionBatch batch{positions, blocks};
    const ExpertGroup groups[] = {{&a.weights, in, first}, {&b.weights, in, second}};
    set.embed(ids, table.cview(), x.view());
    set.rms_norm(x.cview(), ones.data(), 1e-6f, act.view());
    set.matmul(act.cview(), projection.matrix, nullptr, qkv.view());
    set.append_kv(shape, rope.parameters, batch, qkv.view(), cache.view(), q.view());
    set.attention(shape, batch, q.cview(), cache.view(), attended.view());
    set.route({2, 2, true}, logits.cview(), chosen, weights);
    set.expert_ffn(groups, attended.cview(), expert_rows.view());
    set.combine(combine, moe.view());
    set.add(x.view(), moe.cview());
    set.gather_rows(x.cview(), last, gathered.view());
    set.sample(vocab_logits.view(), requests, results);
  }

  KernelSet& set;
  std::mt19937 random{41};
  AttentionShape shape = make_shape(4, 2, 16);
  RopeTable rope{shape};
  FileWeights file{random, DType::kBF16, 128, kHidden};
  WeightRows part = file.rows();
  Packed projection{set, std::span(&part, 1), DType::kBF16};
  TestExpert a{random, set, DType::kBF16, kHidden, kWidth};
  TestExpert b{random, set, DType::kBF16, kHidden, kWidth};
  TestMatrix table = random_matrix(random, DType::kBF16, 10, kHidden);
  TestMatrix logits = random_matrix(random, DType::kF32, kRows, 2);
  TestMatrix vocab_logits = random_matrix(random, DType::kF32, 2, kVocab);
  TestMatrix x{DType::kF32, kRows, kHidden};
  TestMatrix act{set.act_dtype(), kRows, kHidden};
  TestMatrix qkv{DType::kF32, kRows, 128};
  TestMatrix q{set.act_dtype(), kRows, kHidden};
  TestMatrix attended{set.act_dtype(), kRows, kHidden};
  TestMatrix expert_rows{set.act_dtype(), 2 * kRows, kHidden};
  TestMatrix moe{DType::kF32, kRows, kHidden};
  TestMatrix gathered{DType::kF32, 2, kHidden};
  PagedCache cache{set, shape, 3};
  std::vector<AttentionRow> positions;
  std::vector<int32_t> ids, in, first, second, source_rows;
  std::vector<int32_t> sources = std::vector<int32_t>(2 * kRows, 0);
  std::vector<int32_t> chosen = std::vector<int32_t>(2 * kRows);
  std::vector<int32_t> blocks = {2, 0, 1};
  std::vector<int32_t> last = {0, 39};
  std::vector<float> ones = std::vector<float>(static_cast<size_t>(kHidden), 1.0f);
  std::vector<float> weights = std::vector<float>(2 * kRows);
  ConstMatrixView source = expert_rows.cview();
  CombineInput combine;
  TokenBias bias{1, 1.0f};
  SamplingRow requests[2];
  SamplingResult results[2];
};

class AllocationTest : public testing::TestWithParam<SetCase> {};

TEST_P(AllocationTest, AStepWithinTheReservedLimitsAllocatesNothing) {
  const auto set = make_set(GetParam().name, GetParam().compute, 2);
  KernelSet::Limits limits;
  limits.max_rows = kRows;
  limits.max_expert_rows = 2 * kRows;
  limits.hidden = kHidden;
  limits.max_intermediate = kWidth;
  limits.vocab = kVocab;
  limits.max_positions = 64;
  ASSERT_TRUE(set->reserve(limits).ok());
  Step step(*set);
  const int64_t before = allocations.load();
  for (int i = 0; i < 3; ++i) step.run();
  const int64_t after = allocations.load();
  EXPECT_EQ(after, before);
  EXPECT_FALSE(std::isnan(step.gathered.at(1, 0)));
}

TEST_P(AllocationTest, TheCounterSeesScratchThatGrows) {
  const auto set = make_set(GetParam().name, GetParam().compute, 1);
  KernelSet::Limits limits;
  limits.max_rows = 1 << 16;
  limits.hidden = 512;
  limits.max_expert_rows = 16;
  const int64_t before = allocations.load();
  ASSERT_TRUE(set->reserve(limits).ok());
  EXPECT_GT(allocations.load(), before);
}

INSTANTIATE_TEST_SUITE_P(Cpu, AllocationTest, testing::ValuesIn(tested_cases()), case_name);

}  // namespace
}  // namespace conclave::kernels
