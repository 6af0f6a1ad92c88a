/* The mount's counters as JSON: what getxattr of "claudefs.stats" on its root returns. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "fuse/fuse_internal.h"

static void write_ops(const struct cfs_fuse *f, FILE *to)
{
	const char *comma = "";

	fprintf(to, "\"fuse\":{");
	for (uint32_t op = 0; op <= FUSE_OPCODE_MAX; op++) {
		const struct cfs_hist *h = &f->hist[op];

		if (cfs_counter_get(&h->count) == 0)
			continue;
		fprintf(to,
			"%s\"%s\":{\"count\":%" PRIu64 ",\"mean_ns\":%" PRIu64
			",\"p50_ns\":%" PRIu64 ",\"p90_ns\":%" PRIu64 ",\"p99_ns\":%" PRIu64
			",\"p999_ns\":%" PRIu64 ",\"max_ns\":%" PRIu64 "}",
			comma, cfs_fuse_opcode_name(op), cfs_counter_get(&h->count),
			cfs_hist_mean_ns(h), cfs_hist_permille_ns(h, 500),
			cfs_hist_permille_ns(h, 900), cfs_hist_permille_ns(h, 990),
			cfs_hist_permille_ns(h, 999), cfs_counter_get(&h->max_ns));
		comma = ",";
	}
	fprintf(to, "}");
}

static void write_client(const struct cfs_client *c, FILE *to)
{
	struct cfs_client_stats s;
	const char *comma = "";

	cfs_client_stats(c, &s);
	fprintf(to, ",\"messages\":{");
	for (uint16_t op = 0; op < UINT8_MAX; op++) {
		uint64_t count = cfs_op_is_known(op) ? cfs_client_op_count(c, op) : 0;

		if (count == 0)
			continue;
		fprintf(to, "%s\"%s\":%" PRIu64, comma, cfs_op_name(op), count);
		comma = ",";
	}
	fprintf(to,
		"},\"client\":{\"session\":\"%016" PRIx64 "\",\"is_lost\":%s,\"files_open\":%u"
		",\"retries\":%" PRIu64 ",\"disconnects\":%" PRIu64 ",\"refreshes\":%" PRIu64
		",\"old_cuts\":%" PRIu64 ",\"bad_checksums\":%" PRIu64 ",\"recalls\":%" PRIu64
		",\"evictions\":%" PRIu64 "}",
		cfs_client_session(c), s.is_lost ? "true" : "false", s.files_open, s.retries,
		s.disconnects, s.refreshes, s.old_cuts, s.bad_checksums, s.recalls, s.evictions);
	fprintf(to,
		",\"net\":{\"requests_sent\":%" PRIu64 ",\"bytes_sent\":%" PRIu64
		",\"bytes_received\":%" PRIu64 ",\"credit_waits\":%" PRIu64
		",\"disconnects\":%" PRIu64 ",\"bad_messages\":%" PRIu64 "}",
		s.net.requests_sent, s.net.bytes_sent, s.net.bytes_received, s.net.credit_waits,
		s.net.disconnects, s.net.bad_messages);
}

char *cfs_fuse_stats_json(const struct cfs_fuse *f)
{
	struct cfs_reactor_stats r;
	char *text = NULL;
	size_t bytes = 0;
	FILE *to = open_memstream(&text, &bytes);

	if (!to)
		return NULL;
	cfs_reactor_stats(&r);
	fprintf(to, "{");
	write_ops(f, to);
	fprintf(to,
		",\"mount\":{\"abi\":\"7.%u\",\"features\":\"%" PRIx64
		"\",\"under_way\":%u,\"bytes_read\":%" PRIu64 ",\"bytes_written\":%" PRIu64
		",\"interrupts\":%" PRIu64 ",\"malformed\":%" PRIu64 ",\"unknown\":%" PRIu64
		",\"kept\":%u,\"reply_errors\":%" PRIu64 "}",
		f->minor, f->features, f->request_count, cfs_counter_get(&f->bytes_read),
		cfs_counter_get(&f->bytes_written), cfs_counter_get(&f->interrupts),
		cfs_counter_get(&f->malformed), cfs_counter_get(&f->unknown),
		cfs_fuse_cache_count(f), cfs_counter_get(&f->reply_errors));
	fprintf(to,
		",\"reactor\":{\"switches\":%" PRIu64 ",\"sleeps\":%" PRIu64 ",\"spins\":%" PRIu64
		",\"spins_lost\":%" PRIu64 ",\"submits\":%" PRIu64 ",\"timers\":%" PRIu64
		",\"fibers_live\":%" PRIu64 "}",
		r.switches, r.sleeps, r.spins, r.spins_lost, r.submits, r.timers, r.fibers_live);
	if (f->opts->client && f->handlers == &cfs_fuse_client_handlers)
		write_client(f->opts->client, to);
	fprintf(to, "}\n");
	if (fclose(to) != 0) {
		free(text);
		return NULL;
	}
	return text;
}
