#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/reactor_internal.h"
#include "base/util.h"
#include "lib/test_fiber.h"

#define SMALL 4u
#define LARGE 2u
#define FEW .buf_small_count = SMALL, .buf_large_count = LARGE
#define MS 1000000ull

CFS_TEST_FIBER_OPTS(buffers_are_aligned_and_of_their_class, .cores = 1, .pin_cpu = -2, FEW)
{
	struct cfs_buf *small = NULL, *large = NULL, *more = NULL;

	assert_int_equal(cfs_buf_try(CFS_BUF_SMALL_BYTES, &small), 0);
	assert_int_equal(cfs_buf_try(CFS_BUF_SMALL_BYTES + 1, &large), 0);
	assert_int_equal(small->cap_bytes, CFS_BUF_SMALL_BYTES);
	assert_int_equal(large->cap_bytes, CFS_BUF_LARGE_BYTES);
	assert_int_equal((uintptr_t)small->data % CFS_BLOCK_BYTES, 0);
	assert_int_equal((uintptr_t)large->data % CFS_BLOCK_BYTES, 0);
	memset(small->data, 1, small->cap_bytes);
	memset(large->data, 2, large->cap_bytes);
	assert_int_equal(small->data[small->cap_bytes - 1], 1);
	assert_int_equal(cfs_buf_try(CFS_BUF_LARGE_BYTES + 1, &more), -EMSGSIZE);
	assert_int_equal(cfs_buf_get(CFS_BUF_LARGE_BYTES + 1, &more), -EMSGSIZE);
	assert_null(more);
	assert_int_equal(cfs_buf_free_count(0), SMALL - 1);
	assert_int_equal(cfs_buf_free_count(1), LARGE - 1);
	cfs_buf_ref(small);
	cfs_buf_put(small);
	assert_int_equal(cfs_buf_free_count(0), SMALL - 1);
	cfs_buf_put(small);
	cfs_buf_put(large);
	cfs_buf_put(NULL);
	assert_int_equal(cfs_buf_free_count(0), SMALL);
	assert_int_equal(cfs_buf_free_count(1), LARGE);
}

struct taker {
	uint32_t *order;
	uint32_t got_as;
	int rc;
};

static void take_large(void *arg)
{
	struct taker *t = arg;
	struct cfs_buf *b;

	t->rc = cfs_buf_get(CFS_BUF_LARGE_BYTES, &b);
	if (t->rc < 0)
		return;
	t->got_as = ++*t->order;
	cfs_fiber_yield();
	cfs_buf_put(b);
}

CFS_TEST_FIBER_OPTS(an_empty_pool_makes_wait_in_order, .cores = 1, .pin_cpu = -2, FEW)
{
	struct cfs_buf *held[LARGE], *more = NULL;
	struct taker takers[5];
	struct cfs_group g;
	uint32_t order = 0;

	cfs_group_init(&g);
	for (uint32_t i = 0; i < LARGE; i++)
		assert_int_equal(cfs_buf_get(CFS_BUF_LARGE_BYTES, &held[i]), 0);
	assert_int_equal(cfs_buf_try(CFS_BUF_LARGE_BYTES, &more), -EAGAIN);
	for (uint32_t i = 0; i < 5; i++) {
		takers[i] = (struct taker){ .order = &order };
		cfs_group_start(&g, take_large, &takers[i]);
	}
	cfs_fiber_yield();
	assert_int_equal(order, 0);
	cfs_buf_put(held[0]);
	/* It is promised to who waits: nobody comes in between. */
	assert_int_equal(cfs_buf_try(CFS_BUF_LARGE_BYTES, &more), -EAGAIN);
	assert_int_equal(cfs_buf_free_count(1), 0);
	cfs_buf_put(held[1]);
	cfs_group_join(&g);
	for (uint32_t i = 0; i < 5; i++) {
		assert_int_equal(takers[i].rc, 0);
		assert_int_equal(takers[i].got_as, i + 1);
	}
	assert_int_equal(cfs_buf_free_count(1), LARGE);
}

CFS_TEST_FIBER_OPTS(waiting_for_a_buffer_ends_at_deadline_and_cancel, .cores = 1, .pin_cpu = -2,
		    FEW)
{
	struct cfs_buf *held[LARGE], *more = NULL;
	uint32_t order = 0;
	struct taker t = { .order = &order };
	struct cfs_group g;
	uint64_t old_ns;

	cfs_group_init(&g);
	for (uint32_t i = 0; i < LARGE; i++)
		assert_int_equal(cfs_buf_get(CFS_BUF_LARGE_BYTES, &held[i]), 0);
	old_ns = cfs_deadline_narrow(cfs_now_ns() + MS);
	assert_int_equal(cfs_buf_get(CFS_BUF_LARGE_BYTES, &more), -ETIMEDOUT);
	cfs_deadline_restore(old_ns);
	cfs_group_start(&g, take_large, &t);
	cfs_fiber_yield();
	cfs_group_cancel(&g);
	cfs_group_join(&g);
	assert_int_equal(t.rc, -ECANCELED);
	for (uint32_t i = 0; i < LARGE; i++)
		cfs_buf_put(held[i]);
	assert_int_equal(cfs_buf_free_count(1), LARGE);
}

static int put_here(void *arg)
{
	cfs_buf_put(arg);
	return (int)cfs_core_id();
}

CFS_TEST_FIBER_OPTS(a_buffer_goes_home, .cores = 2, .pin_cpu = -2, FEW)
{
	struct cfs_buf *b;

	assert_int_equal(cfs_buf_get(100, &b), 0);
	assert_int_equal(b->core, 0);
	assert_int_equal(cfs_core_call(1, put_here, b), 1);
	while (cfs_buf_free_count(0) < SMALL)
		cfs_fiber_yield();
	assert_int_equal(cfs_buf_get(100, &b), 0);
	assert_int_equal(b->refs, 1);
	cfs_buf_put(b);
}

CFS_TEST_FIBER(registered_memory_is_read_and_written)
{
	char path[] = "/tmp/cfs-buf-XXXXXX";
	int fd = mkstemp(path);
	const struct cfs_reactor *r = cfs_reactor_self();
	struct cfs_buf *a, *b;

	assert_true(fd >= 0);
	unlink(path);
	assert_int_equal(cfs_buf_get(CFS_BUF_LARGE_BYTES, &a), 0);
	assert_int_equal(cfs_buf_get(CFS_BUF_LARGE_BYTES, &b), 0);
	if (geteuid() == 0)
		assert_true(r->ring.fixed_high > r->ring.fixed_low);
	for (uint32_t i = 0; i < a->cap_bytes; i++)
		a->data[i] = (uint8_t)(i * 7 + (i >> 8));
	assert_int_equal(cfs_io_pwrite(fd, a->data, a->cap_bytes, 0), a->cap_bytes);
	assert_int_equal(cfs_io_pread(fd, b->data, b->cap_bytes, 0), b->cap_bytes);
	assert_memory_equal(a->data, b->data, a->cap_bytes);
	cfs_buf_put(a);
	cfs_buf_put(b);
	close(fd);
}

CFS_TEST_SIM(simulated_buffers_need_no_ring)
{
	struct cfs_buf *b;

	assert_int_equal(cfs_buf_get(CFS_BUF_LARGE_BYTES, &b), 0);
	b->data[b->cap_bytes - 1] = 1;
	cfs_buf_put(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buffers_are_aligned_and_of_their_class),
		cmocka_unit_test(an_empty_pool_makes_wait_in_order),
		cmocka_unit_test(waiting_for_a_buffer_ends_at_deadline_and_cancel),
		cmocka_unit_test(a_buffer_goes_home),
		cmocka_unit_test(registered_memory_is_read_and_written),
		cmocka_unit_test(simulated_buffers_need_no_ring),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
