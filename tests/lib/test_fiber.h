/*
 * Test bodies as fibers. In place of a cmocka test's head one writes
 *
 *	CFS_TEST_FIBER(waits_in_order) { ... }      a real runtime of one core
 *	CFS_TEST_SIM(jumps_to_timer) { ... }        a simulated one, seed 1
 *
 * and lists the name with cmocka_unit_test() as ever; the body has `void **state`. The test fails,
 * too, when a fiber of core 0 used more stack than CFS_TEST_STACK_PEAK_BYTES.
 */
#ifndef CFS_TESTS_LIB_TEST_FIBER_H
#define CFS_TESTS_LIB_TEST_FIBER_H

#include "base/reactor.h"

#define CFS_TEST_STACK_PEAK_BYTES (32u * 1024)

/* cfs_runtime_run(), but also after a check that failed inside of a fiber: it jumped out and left
 * its runtime standing. */
int cfs_test_run(const struct cfs_runtime_opts *opts, int (*fn)(void *arg), void *arg);
/* Runs @body(@state) as the first fiber of a runtime of @opts. */
void cfs_test_fiber(const struct cfs_runtime_opts *opts, void (*body)(void **state), void **state);

#define CFS_TEST_FIBER_OPTS(name, ...) \
	static void name##_body(void **state); \
	static void name(void **state) \
	{ \
		cfs_test_fiber(&(struct cfs_runtime_opts){ __VA_ARGS__ }, name##_body, state); \
	} \
	static void name##_body(__attribute__((unused)) void **state)

#define CFS_TEST_FIBER(name) CFS_TEST_FIBER_OPTS(name, .cores = 1, .pin_cpu = -2)
#define CFS_TEST_FIBER_CORES(name, n) CFS_TEST_FIBER_OPTS(name, .cores = (n), .pin_cpu = -2)
#define CFS_TEST_SIM(name) CFS_TEST_FIBER_OPTS(name, .is_sim = true, .sim_seed = 1)

/* From here on what is not freed is no leak: the test killed a simulated process, and its memory is
 * lost as a real one's would be. */
void cfs_test_lose_memory(void);

#endif
