// A histogram of latencies whose buckets grow with them: 128 for each doubling, so a reading is right to 0.6 %.
#ifndef BENCH_LATENCIES_H
#define BENCH_LATENCIES_H

#include <math.h>
#include <stdint.h>

#define BUCKETS_PER_DOUBLING 128
/** To 2^31 us, which is 36 minutes. */
#define LATENCY_BUCKETS 4000

typedef struct {
  uint32_t counts[LATENCY_BUCKETS];
} Latencies;

static inline void note_latency(Latencies* latencies, double us) {
  int bucket = us < 1 ? 0 : (int)(log2(us) * BUCKETS_PER_DOUBLING);
  latencies->counts[bucket < LATENCY_BUCKETS ? bucket : LATENCY_BUCKETS - 1] += 1;
}

/** In us; `share` in [0, 1]. 0 where nothing was noted. */
static inline double latency_at(const Latencies* latencies, double share) {
  uint64_t total = 0;
  for (int i = 0; i < LATENCY_BUCKETS; i++) total += latencies->counts[i];
  uint64_t below = 0;
  for (int i = 0; i < LATENCY_BUCKETS && total > 0; i++) {
    below += latencies->counts[i];
    if (below >= total * share) return exp2((i + 0.5) / BUCKETS_PER_DOUBLING);
  }
  return 0;
}

#endif
