/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "direct_service.h"

#include <netinet/in.h>
#include <stdlib.h>

#include "capabilities.h"
#include "egress_guard.h"
#include "log.h"
#include "node_metrics.h"
#include "vip_check.h"

#define ERROR_MAX 512
#define KEPT_ON "cap_net_admin cap_net_bind_service" /* clones, on ports below 1024; our own listening sockets too */
#define KEPT_OFF "cap_net_bind_service"              /* our own listening sockets */

static void on_finding(void *context, enum vip_check_weight weight, const char *text)
{
	(void)context;
	if (weight == VIP_CHECK_FAULT)
		log_warning("direct: %s", text);
	else
		log_notice("direct: %s", text);
}

static struct address address_of(const struct ip_address *vip)
{
	struct address address = {.len = sizeof(struct sockaddr_in)};
	struct sockaddr_in *v4 = (struct sockaddr_in *)&address.storage;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&address.storage;

	if (vip->family == 4) {
		v4->sin_family = AF_INET;
		memcpy(&v4->sin_addr, vip->address, sizeof(v4->sin_addr));
		return address;
	}
	address.len = sizeof(*v6);
	v6->sin6_family = AF_INET6;
	memcpy(&v6->sin6_addr, vip->address, sizeof(v6->sin6_addr));
	return address;
}

static struct egress_guard *open_guard(const struct direct_settings *settings)
{
	struct address *vips = calloc(settings->vip_count, sizeof(*vips));
	struct egress_guard *guard = NULL;
	char error[ERROR_MAX] = "out of memory";

	for (size_t i = 0; vips && i < settings->vip_count; i++)
		vips[i] = address_of(&settings->vips[i]);
	if (vips)
		guard = egress_guard_open(settings->interfaces, vips, settings->vip_count, error, sizeof(error));
	if (!guard)
		log_warning("direct: %s", error);
	free(vips);
	return guard;
}

static bool is_fit(struct direct_service *service)
{
	const struct vip_check check = {.settings = service->settings, .found = on_finding};

	if (vip_check_run(&check))
		return false;
	service->guard = open_guard(service->settings);
	return service->guard != NULL;
}

static bool drop_capabilities(const char *kept)
{
	char error[ERROR_MAX];

	if (capabilities_keep(kept, error, sizeof(error)) == 0)
		return true;
	log_warning("direct: capabilities cannot be given up: %s", error);
	return false;
}

enum direct_service_status direct_service_open(struct direct_service *service, const struct direct_settings *settings,
					       struct result_queue *results, unsigned lanes)
{
	bool fit;

	*service = (struct direct_service){.settings = settings, .results = results};
	fit = is_fit(service);
	/* Fit or not: what the unit gave for the direct path is not kept for nothing. */
	if (fit)
		fit = drop_capabilities(KEPT_ON);
	if (!fit) {
		log_warning("direct: the direct path is off until the next start; bodies go by the splice path");
		egress_guard_close(service->guard);
		(void)drop_capabilities(KEPT_OFF);
		return DIRECT_SERVICE_OFF;
	}
	service->table = clone_table_new();
	if (service->table && agent_outbox_init(&service->outbox, lanes) == 0)
		return DIRECT_SERVICE_ON;
	log_error("direct: out of memory");
	clone_table_free(service->table);
	egress_guard_close(service->guard);
	return DIRECT_SERVICE_FAILED;
}

void direct_service_close(struct direct_service *service)
{
	agent_outbox_destroy(&service->outbox);
	clone_table_free(service->table);
	if (node_metric_value(NODE_HANDOFFS) > 0)
		egress_guard_leave(service->guard);
	else
		egress_guard_close(service->guard);
}
