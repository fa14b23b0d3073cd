#ifndef CONCLAVE_KERNELS_CPU_GEMM_TILE_H_
#define CONCLAVE_KERNELS_CPU_GEMM_TILE_H_

// The matrix product of one tile of rows with a few weight panels. A line of a panel (one k) is
// read as column pairs: registers of columns [c, c + lanes) and [16 + c, 16 + c + lanes). That is
// how bfloat16 weights come out of their 32-bit words (panel_layout.h), so the other types follow
// the same order.

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/force_inline.h"
#include "kernels/cpu/kernel_table.h"

namespace conclave::kernels::cpu {

template <class S>
struct Bf16Weights {
  static constexpr int kLineBytes = kPanelRows * 2;
  static CONCLAVE_FORCE_INLINE void load_pair(const std::byte* line, int pair, typename S::F& low,
                                              typename S::F& high) {
    S::load_bf16_pair(line + pair * S::kLanes * 4, low, high);
  }
};

template <class S>
struct F16Weights {
  static constexpr int kLineBytes = kPanelRows * 2;
  static CONCLAVE_FORCE_INLINE void load_pair(const std::byte* line, int pair, typename S::F& low,
                                              typename S::F& high) {
    low = S::load_f16(line + pair * S::kLanes * 2);
    high = S::load_f16(line + 32 + pair * S::kLanes * 2);
  }
};

template <class S>
struct F32Weights {
  static constexpr int kLineBytes = kPanelRows * 4;
  static CONCLAVE_FORCE_INLINE void load_pair(const std::byte* line, int pair, typename S::F& low,
                                              typename S::F& high) {
    const auto* columns = reinterpret_cast<const float*>(line);
    low = S::load(columns + pair * S::kLanes);
    high = S::load(columns + 16 + pair * S::kLanes);
  }
};

// How many column pairs and panels one pass holds in registers for M rows.
template <class S, int M>
struct TileShape {
  static constexpr int kLinePairs = 16 / S::kLanes;
  static constexpr int fit(int wanted, int unit) {
    while (wanted > 1 && wanted * unit > S::kAccumulators) wanted /= 2;
    return wanted;
  }
  static constexpr int kPairs = fit(kLinePairs, 2 * M);
  static constexpr int kPanels =
      M <= 3 && kPairs == kLinePairs ? fit(kMaxTilePanels, 2 * M * kPairs) : 1;
};

// Weights that are used by few rows come from memory at its full speed: ask for them early.
// 4 KiB ahead per stream was best on the machines tried.
inline constexpr int64_t kPrefetchBytes = 4096;

template <class S, class W, int M, int P, int Q>
CONCLAVE_FORCE_INLINE void multiply_panels(const GemmTile& tile, const std::byte* weights,
                                           int first_pair, float* c) {
  typename S::F sum[P][Q][2][M];
  CONCLAVE_UNROLL
  for (int p = 0; p < P; ++p) {
    CONCLAVE_UNROLL
    for (int q = 0; q < Q; ++q) {
      CONCLAVE_UNROLL
      for (int m = 0; m < M; ++m) sum[p][q][0][m] = sum[p][q][1][m] = S::zero();
    }
  }
  const float* x = tile.x;
  for (int64_t k = 0; k < tile.k; ++k, x += M, weights += W::kLineBytes) {
    CONCLAVE_UNROLL
    for (int p = 0; p < P; ++p) {
      const std::byte* line = weights + p * tile.panel_bytes;
      if constexpr (M <= 8) {
        CONCLAVE_UNROLL
        for (int64_t at = 0; at < W::kLineBytes; at += 64)
          __builtin_prefetch(line + kPrefetchBytes + at, 0, 3);
      }
      CONCLAVE_UNROLL
      for (int q = 0; q < Q; ++q) {
        typename S::F low, high;
        W::load_pair(line, first_pair + q, low, high);
        CONCLAVE_UNROLL
        for (int m = 0; m < M; ++m) {
          const typename S::F broadcast = S::set1(x[m]);
          sum[p][q][0][m] = S::fma(low, broadcast, sum[p][q][0][m]);
          sum[p][q][1][m] = S::fma(high, broadcast, sum[p][q][1][m]);
        }
      }
    }
  }
  CONCLAVE_UNROLL
  for (int p = 0; p < P; ++p) {
    CONCLAVE_UNROLL
    for (int q = 0; q < Q; ++q) {
      CONCLAVE_UNROLL
      for (int m = 0; m < M; ++m) {
        float* row = c + (p * M + m) * kPanelRows + (first_pair + q) * S::kLanes;
        S::store(row, sum[p][q][0][m]);
        S::store(row + 16, sum[p][q][1][m]);
      }
    }
  }
}

template <class S, class W, int M>
void gemm_rows(const GemmTile& tile) {
  using Shape = TileShape<S, M>;
  constexpr int kPairs = Shape::kPairs;
  int panel = 0;
  if constexpr (Shape::kPanels > 1) {
    for (; panel + Shape::kPanels <= tile.panels; panel += Shape::kPanels) {
      multiply_panels<S, W, M, Shape::kPanels, kPairs>(
          tile, tile.weights + panel * tile.panel_bytes, 0, tile.c + panel * M * kPanelRows);
    }
  }
  for (; panel < tile.panels; ++panel) {
    for (int pair = 0; pair < Shape::kLinePairs; pair += kPairs) {
      multiply_panels<S, W, M, 1, kPairs>(tile, tile.weights + panel * tile.panel_bytes, pair,
                                          tile.c + panel * M * kPanelRows);
    }
  }
}

template <class S, class W, int M = S::kMaxTileRows>
CONCLAVE_FORCE_INLINE void gemm_dispatch_rows(const GemmTile& tile) {
  if (tile.rows == M) {
    gemm_rows<S, W, M>(tile);
  } else if constexpr (M > 1) {
    gemm_dispatch_rows<S, W, M - 1>(tile);
  }
}

template <class S>
void gemm_tile(const GemmTile& tile) {
  switch (tile.dtype) {
    case DType::kBF16:
      gemm_dispatch_rows<S, Bf16Weights<S>>(tile);
      break;
    case DType::kF16:
      gemm_dispatch_rows<S, F16Weights<S>>(tile);
      break;
    case DType::kF32:
      gemm_dispatch_rows<S, F32Weights<S>>(tile);
      break;
  }
}

// kAccumulators chains, enough to hide the latency; the peak that gemm_tile is measured against.
template <class S>
double spin_fma(int64_t iterations, float* sink) {
  constexpr int kChains = S::kAccumulators;
  typename S::F sum[kChains];
  CONCLAVE_UNROLL
  for (int i = 0; i < kChains; ++i) sum[i] = S::set1(static_cast<float>(i));
  const typename S::F a = S::set1(sink[0]);
  const typename S::F b = S::set1(sink[1]);
  for (int64_t n = 0; n < iterations; ++n) {
    CONCLAVE_UNROLL
    for (int i = 0; i < kChains; ++i) sum[i] = S::fma(sum[i], a, b);
  }
  typename S::F total = S::zero();
  CONCLAVE_UNROLL
  for (int i = 0; i < kChains; ++i) total = S::add(total, sum[i]);
  float lanes[S::kLanes];
  S::store(lanes, total);
  sink[0] = lanes[0] > 3e38f ? 0.5f : sink[0];
  return 2.0 * kChains * S::kLanes * static_cast<double>(iterations);
}

template <class S>
float read_all(const float* data, int64_t n) {
  constexpr int kChains = 8;
  typename S::F sum[kChains];
  CONCLAVE_UNROLL
  for (int i = 0; i < kChains; ++i) sum[i] = S::zero();
  constexpr int64_t kStep = int64_t{kChains} * S::kLanes;
  for (int64_t at = 0; at + kStep <= n; at += kStep) {
    CONCLAVE_UNROLL
    for (int i = 0; i < kChains; ++i) {
      if constexpr (S::kLanes == 16) {
        __builtin_prefetch(data + at + i * S::kLanes + kPrefetchBytes / 4, 0, 3);
      } else if (i % (16 / S::kLanes) == 0) {
        __builtin_prefetch(data + at + i * S::kLanes + kPrefetchBytes / 4, 0, 3);
      }
      sum[i] = S::add(sum[i], S::load(data + at + i * S::kLanes));
    }
  }
  typename S::F total = S::zero();
  CONCLAVE_UNROLL
  for (int i = 0; i < kChains; ++i) total = S::add(total, sum[i]);
  float lanes[S::kLanes];
  S::store(lanes, total);
  return lanes[0];
}

}  // namespace conclave::kernels::cpu

#endif  // CONCLAVE_KERNELS_CPU_GEMM_TILE_H_
