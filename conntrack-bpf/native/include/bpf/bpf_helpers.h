/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What the packet path takes from libbpf's header of this name, for the host.
 * Global functions become static, so that several copies fit one program.
 *
 * The two mutations are for tests that must prove they can see a race.
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
