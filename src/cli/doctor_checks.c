#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <linux/io_uring.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/util.h"
#include "cli/cli.h"
#include "cli/doctor.h"
#include "fuse/abi.h"

#define MEMLOCK_BYTES_WANTED (64ull * 1024 * 1024)
#define NOFILE_WANTED 4096u
#define SHM_BYTES_WANTED (128ull * 1024 * 1024)

__attribute__((format(printf, 4, 5))) static void find(struct doctor_finding *f,
						       enum doctor_state state, const char *next,
						       const char *fmt, ...)
{
	va_list args;

	f->state = state;
	snprintf(f->next, sizeof(f->next), "%s", next);
	va_start(args, fmt);
	vsnprintf(f->detail, sizeof(f->detail), fmt, args);
	va_end(args);
}

/* First line of a small file of the kernel's; false: there is none. */
static bool read_line(const char *path, char *out, size_t cap_bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got;

	if (fd < 0)
		return false;
	got = read(fd, out, cap_bytes - 1);
	close(fd);
	if (got < 0)
		return false;
	out[got] = '\0';
	out[strcspn(out, "\n")] = '\0';
	return true;
}

static void check_kernel(struct doctor_finding *f)
{
	struct utsname uts;
	unsigned int major = 0, minor = 0;

	if (uname(&uts) < 0 || sscanf(uts.release, "%u.%u", &major, &minor) != 2)
		find(f, DOCTOR_WARN, "", "the kernel does not say its version");
	else if (major < 6)
		find(f, major == 5 && minor >= 19 ? DOCTOR_WARN : DOCTOR_FAIL,
		     "boot a kernel of 6.1 or later", "Linux %s, %s", uts.release, uts.machine);
	else
		find(f, DOCTOR_OK, "", "Linux %s, %s", uts.release, uts.machine);
}

void doctor_io_uring(struct doctor_finding *f)
{
	struct io_uring_params params = { .flags = IORING_SETUP_SINGLE_ISSUER |
						   IORING_SETUP_DEFER_TASKRUN };
	char text[16] = "";
	long fd = syscall(__NR_io_uring_setup, 4, &params);
	int why = errno;

	if (fd >= 0) {
		close((int)fd);
		find(f, DOCTOR_OK, "", "allowed, features 0x%x", params.features);
		return;
	}
	if (read_line("/proc/sys/kernel/io_uring_disabled", text, sizeof(text)) && text[0] != '0')
		find(f, DOCTOR_FAIL, "sysctl kernel.io_uring_disabled=0",
		     "forbidden by kernel.io_uring_disabled=%s", text);
	else if (why == EPERM || why == ENOSYS)
		find(f, DOCTOR_FAIL,
		     "in a container: a seccomp profile that allows io_uring_setup, io_uring_enter "
		     "and "
		     "io_uring_register",
		     "forbidden (%s), most likely by a container's seccomp profile", strerror(why));
	else if (why == ENOMEM)
		find(f, DOCTOR_FAIL, "ulimit -l 65536", "no memory that may be locked: %s",
		     strerror(why));
	else
		find(f, DOCTOR_FAIL, "boot a kernel of 6.1 or later", "io_uring_setup: %s",
		     strerror(why));
}

void doctor_fuse(struct doctor_finding *f)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	int why = errno;

	if (fd >= 0) {
		close(fd);
		find(f, DOCTOR_OK, "", "present and usable, ABI up to %u.%u is spoken",
		     FUSE_KERNEL_VERSION, FUSE_KERNEL_MINOR_VERSION);
	} else if (why == ENOENT || why == ENXIO || why == ENODEV) {
		find(f, DOCTOR_FAIL,
		     "modprobe fuse; in a container: start it with --device /dev/fuse",
		     "/dev/fuse is missing (%s)", strerror(why));
	} else {
		find(f, DOCTOR_FAIL, "run it as root; in a container: --device /dev/fuse",
		     "/dev/fuse cannot be opened: %s", strerror(why));
	}
}

/* The capability to mount, in whatever user namespace this is. */
void doctor_privilege(struct doctor_finding *f)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };

	if (syscall(SYS_capget, &header, data) == 0 && data[0].effective & CFS_BIT(CAP_SYS_ADMIN))
		find(f, DOCTOR_OK, "", "may mount (CAP_SYS_ADMIN), uid %u", geteuid());
	else
		find(f, DOCTOR_FAIL,
		     geteuid() ? "run it as root"
			       : "in a container: start it with --cap-add SYS_ADMIN",
		     "may not mount: uid %u without CAP_SYS_ADMIN", geteuid());
}

static void check_memlock(struct doctor_finding *f)
{
	struct rlimit limit;
	char text[32];

	if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0) {
		find(f, DOCTOR_WARN, "", "the limit cannot be read: %s", strerror(errno));
		return;
	}
	if (limit.rlim_cur == RLIM_INFINITY || geteuid() == 0) {
		find(f, DOCTOR_OK, "", "buffers can be registered");
		return;
	}
	cli_bytes_text(limit.rlim_cur, text);
	if (limit.rlim_cur < MEMLOCK_BYTES_WANTED)
		find(f, DOCTOR_WARN, "ulimit -l 65536, or LimitMEMLOCK=64M in the unit",
		     "%s may be locked: buffers are copied instead of registered", text);
	else
		find(f, DOCTOR_OK, "", "%s may be locked", text);
}

static void check_nofile(struct doctor_finding *f)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < NOFILE_WANTED)
		find(f, DOCTOR_WARN, "ulimit -n 65536, or LimitNOFILE=65536 in the unit",
		     "%" PRIu64 " open files: few clients can connect", (uint64_t)limit.rlim_cur);
	else
		find(f, DOCTOR_OK, "", "enough open files are allowed");
}

static void check_tails(struct doctor_finding *f)
{
	struct statvfs st;
	uint64_t room;
	char text[32];

	if (statvfs("/dev/shm", &st) < 0) {
		find(f, DOCTOR_WARN, "mount -t tmpfs tmpfs /dev/shm",
		     "/dev/shm is missing: the newest records are kept beside the store, slower");
		return;
	}
	room = (uint64_t)st.f_bavail * st.f_frsize;
	cli_bytes_text(room, text);
	if (room < SHM_BYTES_WANTED)
		find(f, DOCTOR_WARN,
		     "mount -o remount,size=1G /dev/shm; in a container: --shm-size 1g",
		     "%s free in /dev/shm, where the newest records of each store are kept", text);
	else
		find(f, DOCTOR_OK, "", "%s free in /dev/shm", text);
}

static void check_clock(struct doctor_finding *f)
{
	static const char path[] =
		"/sys/devices/system/clocksource/clocksource0/current_clocksource";
	char text[32] = "";

	if (!read_line(path, text, sizeof(text)))
		find(f, DOCTOR_OK, "", "the clock source is not told here");
	else if (strcmp(text, "hpet") == 0 || strcmp(text, "acpi_pm") == 0 ||
		 strcmp(text, "jiffies") == 0)
		find(f, DOCTOR_WARN, "boot with tsc=reliable, if the machine's is",
		     "%s: every look at the clock is slow", text);
	else
		find(f, DOCTOR_OK, "", "%s", text);
}

const struct doctor_check doctor_checks[] = {
	{ "kernel", check_kernel },
	{ "io_uring", doctor_io_uring },
	{ "fuse", doctor_fuse },
	{ "privilege", doctor_privilege },
	{ "memlock", check_memlock },
	{ "open files", check_nofile },
	{ "tails", check_tails },
	{ "clock", check_clock },
	{ 0 },
};
