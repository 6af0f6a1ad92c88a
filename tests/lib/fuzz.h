/*
 * Fuzz targets: tests/fuzz/fuzz_<format>.c defines LLVMFuzzerTestOneInput(), and its line is in
 * tests/fuzz/meson.build. The normal run replays the corpus (tests/fuzz/corpus/<format>/) and then
 * tries mutations of it, under the sanitizers: CFS_COUNTS=small or full chooses how many, CFS_SEED
 * which. The same source links against libFuzzer (clang -fsanitize=fuzzer) for a long hunt.
 *
 * The two hooks are optional. Formats are checksummed, so without cfs_fuzz_mend() nearly every
 * mutation ends at the checksum.
 */
#ifndef CFS_TESTS_LIB_FUZZ_H
#define CFS_TESTS_LIB_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#define CFS_FUZZ_BYTES_MAX 65536

/* Must not fail on any input: no crash, no leak, no unbounded work. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

/* Puts right checksums into a mutated input, where it has the shape for that. Every other input. */
__attribute__((weak)) void cfs_fuzz_mend(uint8_t *data, size_t len_bytes);
/* Writes the @n-th valid input, at most CFS_FUZZ_BYTES_MAX bytes, by the format's own encoder; 0
 * when there are no more. */
__attribute__((weak)) size_t cfs_fuzz_sample(uint32_t n, uint8_t *data);

#endif
