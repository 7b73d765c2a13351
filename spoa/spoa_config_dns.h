/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the configuration says of DNS: the section "dns", and the template of a pool. */
#ifndef DISC_SPOA_CONFIG_DNS_H
#define DISC_SPOA_CONFIG_DNS_H

#include <stdbool.h>

#include "config.h"
#include "node_template.h"

#define SPOA_CONFIG_DNS_SERVERS_MAX 512u

struct spoa_config_dns {
	char servers
		[SPOA_CONFIG_DNS_SERVERS_MAX]; /* "192.0.2.53:53,[2001:db8::53]:53"; empty: those of /etc/resolv.conf */
	double timeout;                        /* seconds for the first answer of a server */
	double ttl_min, ttl_max, hold_gone, hold_empty; /* as struct record_set_limits has them */
};

extern cfg_opt_t dns_options[];
extern cfg_opt_t template_options[];

/* Reads the section "dns" of <root>. Returns 0, or -1 after config_fault(). */
int spoa_config_dns_read(struct spoa_config_dns *settings, cfg_t *root);

/* Reads the section "template" <section>; texts of <template> point into the tree. Returns 0, or -1 after config_fault(). */
int spoa_config_template_read(struct node_template *template, cfg_t *section);

#endif
