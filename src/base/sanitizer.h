/* CFS_ASAN and CFS_TSAN, defined in builds with those sanitizers, by gcc and by clang. */
#ifndef CFS_BASE_SANITIZER_H
#define CFS_BASE_SANITIZER_H

#if defined(__SANITIZE_ADDRESS__)
#define CFS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CFS_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define CFS_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CFS_TSAN 1
#endif
#endif

#endif
