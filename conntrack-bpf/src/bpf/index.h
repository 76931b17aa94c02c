/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef CT_INDEX_H
#define CT_INDEX_H

#include <linux/types.h>

/*
 * An index the verifier believes to be below `size`. A check in C may be done
 * on one copy of a register and the arithmetic on another, and Linux 6.1 then
 * knows nothing. Callers hand in what is in range already.
 */
static __always_inline __u64 ct_index(__u64 index, const __u64 size)
{
#ifdef __bpf__
	asm volatile("if %0 < %1 goto +1\n\t%0 = 0" : "+r"(index) : "i"(size));
#endif
	return index;
}

#endif
