/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What the packet path takes from libbpf's header of this name, for the host.
 * Global functions become static, so that several copies fit one program.
 *
 * The two mutations are for tests that must prove they can see a race. The stops make
 * races common: as if the processor had been taken away right before an atomic.
 */
#ifndef CT_NATIVE_BPF_HELPERS_H
#define CT_NATIVE_BPF_HELPERS_H

#include <stddef.h>

#undef __always_inline
#define __always_inline inline __attribute__((always_inline))
#define __noinline	__attribute__((noinline))
#define __weak		static

/* A map is a name with an address, one for all copies. */
#define SEC(name)	  __attribute__((weak))
#define __uint(name, val) int(*name)[val]
#define __type(name, val) __typeof__(val) *name

#ifdef CT_TEST_STOPS
#include <sched.h>

static inline void ct_stop(void)
{
	static _Thread_local __UINT32_TYPE__ state;

	if (!state)
		state = (__UINT32_TYPE__)(__UINTPTR_TYPE__)&state | 1;
	state = state * 1664525u + 1013904223u;
	if (state >> 26 == 0)
		sched_yield();
}

/* In its own expansion a macro's name is the builtin's. */
#define __sync_fetch_and_add(p, v)	       (ct_stop(), __sync_fetch_and_add(p, v))
#define __sync_fetch_and_or(p, v)	       (ct_stop(), __sync_fetch_and_or(p, v))
#define __sync_val_compare_and_swap(p, old, n) (ct_stop(), __sync_val_compare_and_swap(p, old, n))
#define __sync_lock_test_and_set(p, v)	       (ct_stop(), __sync_lock_test_and_set(p, v))
#endif

#ifdef CT_TEST_PLAIN_ADD
#define __sync_fetch_and_add(p, v)                                                                 \
	({                                                                                         \
		__typeof__(*(p)) was_ = *(volatile __typeof__(p))(p);                              \
		*(volatile __typeof__(p))(p) = was_ + (v);                                         \
		was_;                                                                              \
	})
#endif

#ifdef CT_TEST_PLAIN_CAS
#define __sync_val_compare_and_swap(p, old, new)                                                   \
	({                                                                                         \
		__typeof__(*(p)) was_ = *(volatile __typeof__(p))(p);                              \
		if (was_ == (old))                                                                 \
			*(volatile __typeof__(p))(p) = (new);                                      \
		was_;                                                                              \
	})
#endif

#endif
