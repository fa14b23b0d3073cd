#ifndef CONCLAVE_KERNELS_CUDA_WGMMA_CUH_
#define CONCLAVE_KERNELS_CUDA_WGMMA_CUH_

// Warpgroup matrix instructions: d[64 x N] += a[64 x 16] * b[16 x N], bfloat16 in, float32 sums,
// both operands in shared memory with k contiguous. Four consecutive warps execute each call
// together.

#include <cstdint>

namespace conclave::device::cuda {

// Shared-memory matrix descriptor (PTX ISA, "Matrix descriptor") of the 128-byte swizzle: rows of
// 128 bytes in groups of 8, chunk c of row r at chunk c ^ (r % 8); 1024-byte aligned.
__device__ inline uint64_t descriptor_swizzle_128(uint32_t address) {
  return uint64_t{(address & 0x3ffffu) >> 4} | uint64_t{1} << 16 | uint64_t{1024 >> 4} << 32 |
         uint64_t{1} << 62;
}

__device__ inline void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int kPending>
__device__ inline void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

// N = 8, 16, …; thread t of the group holds rows t / 32 * 16 + t % 32 / 4 (+ 8) and columns
// 8 * i + t % 4 * 2 (+ 1), as mma.m16n8k16 does.
template <int kN>
struct Wgmma;

// Eight accumulators as operands.
#define CONCLAVE_WGMMA_8(i)                                                                   \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), \
      "+f"(d[i + 6]), "+f"(d[i + 7])

// clang-format off
template <>
struct Wgmma<16> {
  __device__ static void run(float (&d)[8], uint64_t a, uint64_t b) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n16k16.f32.bf16.bf16 "
        "{%0, %1, %2, %3, %4, %5, %6, %7}, "
        "%8, %9, 1, 1, 1, 0, 0;"
        : CONCLAVE_WGMMA_8(0)
        : "l"(a), "l"(b));
  }
};
template <>
struct Wgmma<32> {
  __device__ static void run(float (&d)[16], uint64_t a, uint64_t b) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n32k16.f32.bf16.bf16 "
        "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15}, "
        "%16, %17, 1, 1, 1, 0, 0;"
        : CONCLAVE_WGMMA_8(0), CONCLAVE_WGMMA_8(8)
        : "l"(a), "l"(b));
  }
};
template <>
struct Wgmma<48> {
  __device__ static void run(float (&d)[24], uint64_t a, uint64_t b) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n48k16.f32.bf16.bf16 "
        "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23}, "
        "%24, %25, 1, 1, 1, 0, 0;"
        : CONCLAVE_WGMMA_8(0), CONCLAVE_WGMMA_8(8), CONCLAVE_WGMMA_8(16)
        : "l"(a), "l"(b));
  }
};
template <>
struct Wgmma<64> {
  __device__ static void run(float (&d)[32], uint64_t a, uint64_t b) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 "
        "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
        "%32, %33, 1, 1, 1, 0, 0;"
        : CONCLAVE_WGMMA_8(0), CONCLAVE_WGMMA_8(8), CONCLAVE_WGMMA_8(16),
          CONCLAVE_WGMMA_8(24)
        : "l"(a), "l"(b));
  }
};
template <>
struct Wgmma<80> {
  __device__ static void run(float (&d)[40], uint64_t a, uint64_t b) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n80k16.f32.bf16.bf16 "
        "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39}, "
        "%40, %41, 1, 1, 1, 0, 0;"
        : CONCLAVE_WGMMA_8(0), CONCLAVE_WGMMA_8(8), CONCLAVE_WGMMA_8(16),
          CONCLAVE_WGMMA_8(24), CONCLAVE_WGMMA_8(32)
        : "l"(a), "l"(b));
  }
};
template <>
struct Wgmma<96> {
  __device__ static void run(float (&d)[48], uint64_t a, uint64_t b) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n96k16.f32.bf16.bf16 "
        "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47}, "
        "%48, %49, 1, 1, 1, 0, 0;"
        : CONCLAVE_WGMMA_8(0), CONCLAVE_WGMMA_8(8), CONCLAVE_WGMMA_8(16),
          CONCLAVE_WGMMA_8(24), CONCLAVE_WGMMA_8(32), CONCLAVE_WGMMA_8(40)
        : "l"(a), "l"(b));
  }
};
template <>
struct Wgmma<112> {
  __device__ static void run(float (&d)[56], uint64_t a, uint64_t b) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n112k16.f32.bf16.bf16 "
        "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
        "%48, %49, %50, %51, %52, %53, %54, %55}, "
        "%56, %57, 1, 1, 1, 0, 0;"
        : CONCLAVE_WGMMA_8(0), CONCLAVE_WGMMA_8(8), CONCLAVE_WGMMA_8(16),
          CONCLAVE_WGMMA_8(24), CONCLAVE_WGMMA_8(32), CONCLAVE_WGMMA_8(40),
          CONCLAVE_WGMMA_8(48)
        : "l"(a), "l"(b));
  }
};
template <>
struct Wgmma<128> {
  __device__ static void run(float (&d)[64], uint64_t a, uint64_t b) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 "
        "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
        "%64, %65, 1, 1, 1, 0, 0;"
        : CONCLAVE_WGMMA_8(0), CONCLAVE_WGMMA_8(8), CONCLAVE_WGMMA_8(16),
          CONCLAVE_WGMMA_8(24), CONCLAVE_WGMMA_8(32), CONCLAVE_WGMMA_8(40),
          CONCLAVE_WGMMA_8(48), CONCLAVE_WGMMA_8(56)
        : "l"(a), "l"(b));
  }
};
template <>
struct Wgmma<144> {
  __device__ static void run(float (&d)[72], uint64_t a, uint64_t b) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n144k16.f32.bf16.bf16 "
        "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
        "%64, %65, %66, %67, %68, %69, %70, %71}, "
        "%72, %73, 1, 1, 1, 0, 0;"
        : CONCLAVE_WGMMA_8(0), CONCLAVE_WGMMA_8(8), CONCLAVE_WGMMA_8(16),
          CONCLAVE_WGMMA_8(24), CONCLAVE_WGMMA_8(32), CONCLAVE_WGMMA_8(40),
          CONCLAVE_WGMMA_8(48), CONCLAVE_WGMMA_8(56), CONCLAVE_WGMMA_8(64)
        : "l"(a), "l"(b));
  }
};
template <>
struct Wgmma<160> {
  __device__ static void run(float (&d)[80], uint64_t a, uint64_t b) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n160k16.f32.bf16.bf16 "
        "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
        "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
        "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, "
        "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79}, "
        "%80, %81, 1, 1, 1, 0, 0;"
        : CONCLAVE_WGMMA_8(0), CONCLAVE_WGMMA_8(8), CONCLAVE_WGMMA_8(16),
          CONCLAVE_WGMMA_8(24), CONCLAVE_WGMMA_8(32), CONCLAVE_WGMMA_8(40),
          CONCLAVE_WGMMA_8(48), CONCLAVE_WGMMA_8(56), CONCLAVE_WGMMA_8(64),
          CONCLAVE_WGMMA_8(72)
        : "l"(a), "l"(b));
  }
};
// clang-format on
#undef CONCLAVE_WGMMA_8

}  // namespace conclave::device::cuda

#endif  // CONCLAVE_KERNELS_CUDA_WGMMA_CUH_
