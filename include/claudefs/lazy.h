/*
 * Files that may be seen late: for programs that read a file much, while others change it, and can
 * do with what was there a moment ago. All else of the mount stays strict.
 *
 * Either for everybody, as long as the file has the attribute CLAUDEFS_XATTR_LAZY, whose value is
 * a time in milliseconds as decimal text ("500"); who may write the file may set and remove it:
 *
 *	setfattr -n claudefs.lazy -v 500 FILE
 *
 * Or on one mount, as long as one open file description is there:
 *
 *	uint32_t time_ms = 500;
 *	int fd = open(path, O_RDONLY);
 *
 *	if (fd >= 0 && ioctl(fd, CLAUDEFS_IOC_LAZY, &time_ms) < 0)
 *		warn("%s: reads wait for others' changes", path);
 *
 * The kernel keeps attributes and pages of a file, not of an open: so all of the mount see that
 * file late meanwhile, and until the time has passed once more; only its owner and root may ask for
 * it (EPERM). A time of 0 ends it; of several the longest counts. EINVAL: above
 *CLAUDEFS_LAZY_MS_MAX; ENOTTY: no regular file, or of another file system.
 *
 * What is seen late is what others change of the file: attributes, permissions among them, and
 * contents, also by a later open(2). What is changed on the mount itself is seen at once there, and
 * by those who have not asked for less. Names are never late.
 */
#ifndef CLAUDEFS_LAZY_H
#define CLAUDEFS_LAZY_H

#include <stdint.h>
#include <sys/ioctl.h>

#define CLAUDEFS_XATTR_LAZY "claudefs.lazy"
#define CLAUDEFS_LAZY_MS_MAX 60000u
#define CLAUDEFS_IOC_LAZY _IOW('C', 0x40, uint32_t) /* milliseconds */

#endif
