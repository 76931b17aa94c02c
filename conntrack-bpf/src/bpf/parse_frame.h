/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The whole way from the frame to struct ct_pkt. */
#ifndef CT_PARSE_FRAME_H
#define CT_PARSE_FRAME_H

#include "parse.h"

static __always_inline enum ct_pass ct_parse(const struct ct_mem *m, struct ct_frame *f,
					     struct ct_pkt *pkt, int raw_ip)
{
	enum ct_pass pass = raw_ip ? ct_parse_raw(m, f) : ct_parse_ether(m, f);

	if (pass != CT_PARSED)
		return pass;
	if (f->ethertype == bpf_htons(ETH_P_IP))
		pass = ct_parse_ipv4(m, f, pkt);
	else if (f->ethertype == bpf_htons(ETH_P_IPV6))
		pass = ct_parse_ipv6(m, f, pkt);
	else
		return CT_PASS_NOT_IP;
	if (pass != CT_PARSED)
		return pass;
	if (f->fragmented && f->frag_off) {
		pkt->kind = CT_KIND_FRAGMENT;
		pkt->payload = f->l3_end > f->off ? f->l3_end - f->off : 0;
		return CT_PARSED;
	}
	return ct_parse_l4(m, f, pkt);
}

#endif
