/*
 * Machine contexts: what a fiber is to the processor. On x86-64 a switch is our own assembly, which
 * saves what the System V ABI (section 3.2.1) makes the callee keep; elsewhere, or with
 * CFS_FIBER_UCONTEXT defined, it is swapcontext(3). The control words of the FPU are not switched:
 * nothing here changes them.
 */
#ifndef CFS_BASE_FIBER_SWITCH_H
#define CFS_BASE_FIBER_SWITCH_H

#include <stddef.h>

#if !defined(__x86_64__) && !defined(CFS_FIBER_UCONTEXT)
#define CFS_FIBER_UCONTEXT 1
#endif

#ifdef CFS_FIBER_UCONTEXT
#include <ucontext.h>

struct cfs_ctx {
	ucontext_t uc;
};
#else
struct cfs_ctx {
	void *sp;
};
#endif

/* Makes @ctx start @entry on the stack of @stack_bytes at @stack when it is first switched to.
 * @entry never returns. */
void cfs_ctx_make(struct cfs_ctx *ctx, void *stack, size_t stack_bytes, void (*entry)(void));
/* Saves the running context in @from and continues @to; returns when somebody switches back. */
void cfs_ctx_switch(struct cfs_ctx *from, const struct cfs_ctx *to);
/* Frame pointer of a suspended context, where a walk of its stack starts; NULL: not known. */
void *const *cfs_ctx_frame(const struct cfs_ctx *ctx);

#endif
