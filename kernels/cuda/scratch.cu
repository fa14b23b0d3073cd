// Scratch of a context, sized once.

#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/gemm.cuh"
#include "kernels/cuda/scratch.h"

namespace conclave::device::cuda {

cudaError_t prepare_norm_route();
cudaError_t prepare_route();
cudaError_t prepare_sample();

namespace {

template <typename T>
Status allocate(T** out, int64_t bytes, const char* what) {
  if (bytes <= 0) return kOk;
  const cudaError_t error = cudaMalloc(reinterpret_cast<void**>(out), static_cast<size_t>(bytes));
  return error == cudaErrorMemoryAllocation
             ? fail(kNoMemory, "scratch for %s: %lld bytes do not fit", what,
                    static_cast<long long>(bytes))
             : check(error, what);
}

Status prepare_kernels() {
  cudaError_t error = prepare_gemm_streaming();
  if (error == cudaSuccess) error = prepare_gemm_tiled();
  if (error == cudaSuccess) error = prepare_attention_split();
  if (error == cudaSuccess) error = prepare_attention_tiled();
  if (error == cudaSuccess) error = prepare_route();
  if (error == cudaSuccess) error = prepare_norm_route();
  if (error == cudaSuccess) error = prepare_sample();
  return check(error, "preparing kernels");
}

}  // namespace

Status create_scratch(Context* context) {
  Status status = prepare_kernels();
  if (status != kOk) return status;
  destroy_scratch(context);
  context->scratch = new Scratch;
  Scratch& scratch = *context->scratch;
  const Limits& limits = context->limits;
  const int64_t act = context->compute_type == kComputeF32 ? 4 : 2;
  status = allocate(&scratch.expert_hidden, limits.max_expert_rows * limits.max_intermediate * act,
                    "expert activations");
  if (status != kOk) return status;
  status =
      allocate(&scratch.router_logits, limits.max_rows * limits.max_experts * 4, "router logits");
  if (status != kOk) return status;
  status = allocate(&scratch.sampling, limits.max_head_rows * limits.vocab * 4, "sampling");
  if (status != kOk || context->compute_type == kComputeF32) return status;
  status = allocate(&scratch.blocks_done, sizeof(int32_t), "counters");
  if (status != kOk) return status;
  status = check(cudaMemset(scratch.blocks_done, 0, sizeof(int32_t)), "clearing scratch");
  if (status != kOk) return status;
  scratch.attention_part_bytes = attention_split_scratch_bytes(limits);
  status = allocate(&scratch.attention_parts, scratch.attention_part_bytes, "attention splits");
  if (status != kOk) return status;
  // Its counters of finished blocks begin at zero, and every call leaves them so.
  return check(
      cudaMemset(scratch.attention_parts, 0, static_cast<size_t>(scratch.attention_part_bytes)),
      "clearing scratch");
}

void destroy_scratch(Context* context) {
  if (context->scratch == nullptr) return;
  cudaFree(context->scratch->expert_hidden);
  cudaFree(context->scratch->router_logits);
  cudaFree(context->scratch->sampling);
  cudaFree(context->scratch->attention_parts);
  cudaFree(context->scratch->blocks_done);
  delete context->scratch;
  context->scratch = nullptr;
}

}  // namespace conclave::device::cuda
