/*
 * Options: one table feeds the file's parser, the command line, --help, the man page and
 * `cfs config show`. The file is INI (/etc/claudefs/claudefs.conf), keys with or without a
 * [claudefs] section above them. On the command line a key is --key=value, and - may stand for _.
 *
 * Nothing is changed by a file or an argument that has an error in it. The error is one line:
 * where, what, and the nearest name that exists.
 */
#ifndef CFS_BASE_CONFIG_H
#define CFS_BASE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define CFS_CONFIG_PATH "/etc/claudefs/claudefs.conf"
#define CFS_CONFIG_TEXT_BYTES 256 /* of a string, with its NUL */
#define CFS_CONFIG_WHY_BYTES 512  /* room for an error's line */

/*
 * X(key, type, default, min, max, unit, help). Types: BOOL; U64; SIZE, in bytes; DURATION, in
 * nanoseconds; TEXT, min and max bound its length; CHOICE, the unit lists what it may be.
 */
#define CFS_CONFIG_TABLE(X) \
	X(listen, TEXT, "", 0, 255, "address:port", \
	  "where to listen for clients; empty: nowhere, only this process is served") \
	X(cores, U64, "0", 0, 64, "cores", "reactors; 0: one for every two CPUs, at least one") \
	X(fabric, CHOICE, "tcp", 0, 0, "tcp|shm", "what carries messages between processes") \
	X(flush_interval, DURATION, "1s", 1000000, 3600000000000, "time", \
	  "how long an acknowledged change may be in memory only, unless somebody syncs it") \
	X(tail_size, SIZE, "64M", 1 << 20, 1ull << 40, "bytes", \
	  "memory of a store's newest records, which outlives the process") \
	X(cache_size, SIZE, "64M", 1 << 20, 1ull << 44, "bytes", \
	  "memory for data that was read or will be written") \
	X(state_dir, TEXT, "", 0, 255, "folder", \
	  "where control plane, sockets and logs are kept; empty: beside the store") \
	X(control, TEXT, "local", 1, 255, "local|etcd:http://host:port,...", \
	  "where a new volume's map is kept: in a file, or by an etcd with these members") \
	X(control_secrets, TEXT, "", 0, 255, "folder", \
	  "has those of ca.pem, cert.pem, key.pem and user (name:password) that etcd wants") \
	X(log_level, CHOICE, "info", 0, 0, "err|warn|info|debug", "the least that is logged") \
	X(session_life, DURATION, "30s", 100000000, 3600000000000, "time", \
	  "how long a client may be silent before others get what it holds") \
	X(consistency, TEXT, "strict", 1, 64, "strict|close-to-open|lazy[:time]", \
	  "what a mount sees of others' changes: all at once; what was closed before an open; " \
	  "all " \
	  "but the last second, or what time says") \
	X(mount_wait, DURATION, "0", 0, UINT64_MAX, "time", \
	  "how long operations wait for a server that is away, then fail; 0: for ever") \
	X(memory_patch_max, SIZE, "64M", 0, 1ull << 40, "bytes", \
	  "memory for small writes that are not yet part of an extent")

enum cfs_config_key {
#define X(key, type, text, min, max, unit, help) CFS_CONFIG_KEY_##key,
	CFS_CONFIG_TABLE(X)
#undef X
		CFS_CONFIG_KEYS,
};

enum cfs_config_origin { CFS_CONFIG_DEFAULT, CFS_CONFIG_FILE, CFS_CONFIG_ARGUMENT };

#define CFS_CONFIG_FIELD_BOOL(key) bool key;
#define CFS_CONFIG_FIELD_U64(key) uint64_t key;
#define CFS_CONFIG_FIELD_SIZE(key) uint64_t key;
#define CFS_CONFIG_FIELD_DURATION(key) uint64_t key;
#define CFS_CONFIG_FIELD_TEXT(key) char key[CFS_CONFIG_TEXT_BYTES];
#define CFS_CONFIG_FIELD_CHOICE(key) char key[CFS_CONFIG_TEXT_BYTES];

/* A field a key, of the same name. */
struct cfs_config {
#define X(key, type, text, min, max, unit, help) CFS_CONFIG_FIELD_##type(key)
	CFS_CONFIG_TABLE(X)
#undef X
	uint8_t origin[CFS_CONFIG_KEYS];
};

void cfs_config_defaults(struct cfs_config *cfg);

/*
 * Takes over what the file @path says. Returns 0; -EINVAL: an error in it; -ENOENT and other errors
 * of open(2), where only the caller knows whether the file must exist. On failure @cfg is untouched
 * and
 * @why says in one line what is wrong, "/etc/claudefs/claudefs.conf:3: unknown key ...".
 */
int cfs_config_load(struct cfs_config *cfg, const char *path, char why[CFS_CONFIG_WHY_BYTES]);

/*
 * Takes over one argument, "--key=value"; "--key" alone switches a BOOL on. Returns 0; -ENOENT: not
 * an option of the table, @why names the nearest (a program with options of its own asks here
 * last); -EINVAL: bad value, @why says what is wrong. On failure @cfg is untouched.
 */
int cfs_config_argument(struct cfs_config *cfg, const char *argument,
			char why[CFS_CONFIG_WHY_BYTES]);

/* Takes over one value. Returns and @why as above, without a place in front. */
int cfs_config_set(struct cfs_config *cfg, const char *key, const char *value,
		   enum cfs_config_origin origin, char why[CFS_CONFIG_WHY_BYTES]);

/* The value of @key as a text that cfs_config_set() reads back. */
void cfs_config_value(const struct cfs_config *cfg, enum cfs_config_key key,
		      char text[CFS_CONFIG_TEXT_BYTES]);
const char *cfs_config_name(enum cfs_config_key key);

/* `cfs config show`: an INI file that gives this very configuration, with each value's origin. */
void cfs_config_show(const struct cfs_config *cfg, FILE *to);
/* The table's part of --help, and of the man page (scdoc). */
void cfs_config_help(FILE *to);
void cfs_config_man(FILE *to);

#endif
