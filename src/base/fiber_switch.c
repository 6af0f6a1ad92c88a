#include "base/fiber_switch.h"

#include <stdint.h>

#include "base/assert.h"

#ifdef CFS_FIBER_UCONTEXT

void cfs_ctx_make(struct cfs_ctx *ctx, void *stack, size_t stack_bytes, void (*entry)(void))
{
	int rc = getcontext(&ctx->uc);

	cfs_assert(rc == 0);
	ctx->uc.uc_stack.ss_sp = stack;
	ctx->uc.uc_stack.ss_size = stack_bytes;
	ctx->uc.uc_link = NULL;
	makecontext(&ctx->uc, entry, 0);
}

void cfs_ctx_switch(struct cfs_ctx *from, const struct cfs_ctx *to)
{
	int rc = swapcontext(&from->uc, &to->uc);

	cfs_assert(rc == 0);
}

void *const *cfs_ctx_frame(const struct cfs_ctx *ctx)
{
	(void)ctx;
	return NULL;
}

#else

/* What the switch leaves on a suspended stack, lowest address first. */
struct saved_frame {
	void *r15, *r14, *r13, *r12, *rbx, *rbp;
	void (*resume)(void);
	void *end; /* what the entry would return to: nothing */
};

/* The jump instead of a return keeps the return predictor from guessing wrong at every switch. */
__asm__(".text\n"
	".p2align 4\n"
	".globl cfs_ctx_switch\n"
	".hidden cfs_ctx_switch\n"
	".type cfs_ctx_switch, @function\n"
	"cfs_ctx_switch:\n"
	"	.cfi_startproc\n"
	"	endbr64\n"
	"	pushq %rbp\n"
	"	pushq %rbx\n"
	"	pushq %r12\n"
	"	pushq %r13\n"
	"	pushq %r14\n"
	"	pushq %r15\n"
	"	movq %rsp, (%rdi)\n"
	"	movq (%rsi), %rsp\n"
	"	popq %r15\n"
	"	popq %r14\n"
	"	popq %r13\n"
	"	popq %r12\n"
	"	popq %rbx\n"
	"	popq %rbp\n"
	"	popq %rcx\n"
	"	jmpq *%rcx\n"
	"	.cfi_endproc\n"
	".size cfs_ctx_switch, . - cfs_ctx_switch\n");

void cfs_ctx_make(struct cfs_ctx *ctx, void *stack, size_t stack_bytes, void (*entry)(void))
{
	uintptr_t top = ((uintptr_t)stack + stack_bytes) & ~(uintptr_t)15;
	/* At its entry a function finds the stack 8 bytes below a multiple of 16. */
	struct saved_frame *frame = (struct saved_frame *)(void *)(top - sizeof(*frame));

	static_assert(sizeof(struct saved_frame) % 16 == 0, "else the stack is misaligned");
	*frame = (struct saved_frame){ .resume = entry };
	ctx->sp = frame;
}

void *const *cfs_ctx_frame(const struct cfs_ctx *ctx)
{
	const struct saved_frame *frame = ctx->sp;

	return (void *const *)frame->rbp;
}

#endif
