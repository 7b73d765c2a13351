/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "direct_settings.h"

#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"

#define VIPS_MAX 64 /* what the egress guard knows apart */
#define INTERFACES_MAX 16
#define CONGESTION_MAX 15 /* TCP_CA_NAME_MAX, less its terminating zero */

/* The agent makes at most twice as much anew when it takes a connection over (the kernel doubles the value). */
#define SEND_BUFFER_MAX (4L << 20)

cfg_opt_t direct_settings_options[] = {
	CFG_STR_LIST("vip", "{}", CFGF_NONE),
	CFG_STR_LIST("interface", "{}", CFGF_NONE),
	CFG_STR("congestion-control", "", CFGF_NONE),
	CFG_INT("send-buffer", 4194304, CFGF_NONE),
	CFG_FLOAT("handoff-wait", 5.0, CFGF_NONE),
	CFG_FLOAT("client-timeout", 60.0, CFGF_NONE),
	CFG_STR("connection-tracking", "exempt", CFGF_NONE),
	CFG_END(),
};

bool direct_settings_have_vip(const struct direct_settings *settings, uint8_t family, const uint8_t address[static 16])
{
	for (size_t i = 0; i < settings->vip_count; i++)
		if (settings->vips[i].family == family && memcmp(settings->vips[i].address, address, 16) == 0)
			return true;
	return false;
}

static int check_vips(struct direct_settings *settings, cfg_t *section)
{
	unsigned count = cfg_size(section, "vip");
	int faults = 0;

	if (!count)
		return -config_fault(section, "vip", "must name at least one address");
	if (count > VIPS_MAX)
		return -config_fault(section, "vip", "%u addresses are more than %d", count, VIPS_MAX);
	settings->vips = calloc(count, sizeof(*settings->vips));
	if (!settings->vips)
		return -config_fault(section, "vip", "out of memory");
	for (unsigned i = 0; i < count; i++) {
		const char *text = cfg_getnstr(section, "vip", i);
		struct ip_address vip;

		if (ip_address_parse(&vip, text, strlen(text)) < 0)
			faults -= config_fault(section, "vip", "\"%s\" is no numeric IPv4 or IPv6 address", text);
		else if (direct_settings_have_vip(settings, vip.family, vip.address))
			faults -= config_fault(section, "vip", "\"%s\" is named twice", text);
		else
			settings->vips[settings->vip_count++] = vip;
	}
	return faults;
}

static int check_interfaces(struct direct_settings *settings, cfg_t *section)
{
	unsigned count = cfg_size(section, "interface");
	int faults = 0;

	if (!count)
		return -config_fault(section, "interface", "must name at least one interface");
	if (count > INTERFACES_MAX)
		return -config_fault(section, "interface", "%u interfaces are more than %d", count, INTERFACES_MAX);
	settings->interfaces = calloc((size_t)count + 1, sizeof(*settings->interfaces));
	if (!settings->interfaces)
		return -config_fault(section, "interface", "out of memory");
	for (unsigned i = 0; i < count; i++) {
		const char *name = cfg_getnstr(section, "interface", i);

		settings->interfaces[i] = name;
		if (name[0] == '\0' || strlen(name) >= IF_NAMESIZE || strchr(name, '/'))
			faults -= config_fault(section, "interface", "\"%s\" is not an interface's name", name);
	}
	return faults;
}

static int need_seconds(cfg_t *section, const char *field, double min, double max, double *value)
{
	double seconds = cfg_getfloat(section, field);

	if (!(seconds >= min && seconds <= max))
		return config_fault(section, field, "%g is not between %g and %g seconds", seconds, min, max);
	*value = seconds;
	return 0;
}

int direct_settings_check(struct direct_settings *settings, cfg_t *section)
{
	const char *congestion = cfg_getstr(section, "congestion-control");
	const char *tracking = cfg_getstr(section, "connection-tracking");
	int faults = check_vips(settings, section) + check_interfaces(settings, section);
	long buffer = 0;

	if (strlen(congestion) > CONGESTION_MAX)
		faults -= config_fault(section, "congestion-control", "\"%s\" is not the name of one", congestion);
	settings->congestion = congestion[0] != '\0' ? congestion : NULL;
	faults -= config_need_range(section, "send-buffer", 65536, SEND_BUFFER_MAX, &buffer);
	settings->send_buffer = (int)buffer;
	faults -= need_seconds(section, "handoff-wait", 0.1, 60, &settings->handoff_wait);
	faults -= need_seconds(section, "client-timeout", 0.5, 3600, &settings->client_timeout);
	settings->ignore_tracking = strcmp(tracking, "ignore") == 0;
	if (!settings->ignore_tracking && strcmp(tracking, "exempt") != 0)
		faults -= config_fault(section, "connection-tracking", "\"%s\" is neither exempt nor ignore", tracking);
	return faults;
}

void direct_settings_release(struct direct_settings *settings)
{
	free(settings->vips);
	free(settings->interfaces);
	memset(settings, 0, sizeof(*settings));
}
