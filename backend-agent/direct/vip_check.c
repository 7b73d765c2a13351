/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vip_check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "capabilities.h"
#include "connection_tracking.h"
#include "interface_sysctl.h"
#include "route_lookup.h"
#include "tcp_freeze.h"

#define MTU_USUAL 1500u

/* Some address of the default route. Nothing is ever sent to it. */
static const uint8_t anywhere4[16] = {198, 18, 0, 1};                       /* RFC 2544 */
static const uint8_t anywhere6[16] = {0x20, 0x01, 0x00, 0x02, [15] = 0x01}; /* RFC 5180 */

struct checking {
	const struct vip_check *check;
	unsigned faults;
};

static void report(struct checking *checking, enum vip_check_weight weight, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void report(struct checking *checking, enum vip_check_weight weight, const char *format, ...)
{
	char text[VIP_CHECK_TEXT_MAX];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (weight == VIP_CHECK_FAULT)
		checking->faults++;
	checking->check->found(checking->check->context, weight, text);
}

static bool is_listed(const struct direct_settings *settings, const char *interface)
{
	for (const char **name = settings->interfaces; *name; name++)
		if (strcmp(*name, interface) == 0)
			return true;
	return false;
}

static bool has_family(const struct direct_settings *settings, uint8_t family)
{
	for (size_t i = 0; i < settings->vip_count; i++)
		if (settings->vips[i].family == family)
			return true;
	return false;
}

/* --- the addresses --- */

static bool is_vip(const struct ip_address *vip, const struct sockaddr *address)
{
	if (!address)
		return false;
	if (vip->family == 4 && address->sa_family == AF_INET)
		return memcmp(&((const struct sockaddr_in *)address)->sin_addr, vip->address, 4) == 0;
	return vip->family == 6 && address->sa_family == AF_INET6 &&
	       memcmp(&((const struct sockaddr_in6 *)address)->sin6_addr, vip->address, 16) == 0;
}

static unsigned prefix_length(const struct sockaddr *mask)
{
	const uint8_t *bytes;
	unsigned bits = 0, len;

	if (!mask)
		return 0;
	len = mask->sa_family == AF_INET6 ? 16 : 4;
	bytes = mask->sa_family == AF_INET6 ? (const uint8_t *)&((const struct sockaddr_in6 *)mask)->sin6_addr
					    : (const uint8_t *)&((const struct sockaddr_in *)mask)->sin_addr;
	for (unsigned i = 0; i < len; i++)
		bits += (unsigned)__builtin_popcount(bytes[i]);
	return bits;
}

/* IPv4 addresses are the host's: arp_ignore keeps them quiet. IPv6 ones are the interface's: on lo or a dummy nobody is
 * told of them (RFC 4861 7.2.4: solicitations are answered for the interface's own addresses; RFC 4862 5.4: nor are
 * they looked for there). */
static void check_place(struct checking *checking, const struct ip_address *vip, const struct ifaddrs *place)
{
	unsigned prefix = prefix_length(place->ifa_netmask), wanted = vip->family == 6 ? 128 : 32;
	char text[IP_ADDRESS_TEXT_MAX];

	(void)ip_address_format(vip, text);
	if (!(place->ifa_flags & (IFF_LOOPBACK | IFF_NOARP)))
		report(checking, VIP_CHECK_FAULT,
		       "vip %s: it is on %s, where others are told that it is here: ip address del %s/%u dev %s && ip "
		       "address add %s/%u dev lo",
		       text, place->ifa_name, text, prefix, place->ifa_name, text, wanted);
	else if (prefix != wanted)
		report(checking, VIP_CHECK_FAULT,
		       "vip %s: its prefix is /%u, so its neighbours would be taken for this host too: ip address del "
		       "%s/%u dev %s && ip address add %s/%u dev lo",
		       text, prefix, text, prefix, place->ifa_name, text, wanted);
	if (!(place->ifa_flags & IFF_UP))
		report(checking, VIP_CHECK_FAULT, "vip %s: its interface %s is down: ip link set %s up", text,
		       place->ifa_name, place->ifa_name);
}

/* Returns whether the host has it. */
static bool check_vip(struct checking *checking, const struct ip_address *vip, const struct ifaddrs *all)
{
	char text[IP_ADDRESS_TEXT_MAX];
	bool found = false;

	for (const struct ifaddrs *place = all; place; place = place->ifa_next) {
		if (!is_vip(vip, place->ifa_addr))
			continue;
		found = true;
		check_place(checking, vip, place);
	}
	(void)ip_address_format(vip, text);
	if (!found)
		report(checking, VIP_CHECK_FAULT, "vip %s: it is not on this node: ip address add %s/%u dev lo", text,
		       text, vip->family == 6 ? 128 : 32);
	return found;
}

/* --- the interfaces --- */

/* The kernel goes by the larger value of "all" and the interface's own. Returns it, or -1 if it cannot be read. */
static long effective(struct checking *checking, const char *interface, const char *setting)
{
	long all = interface_sysctl(4, "all", setting), own = interface_sysctl(4, interface, setting);

	if (all >= 0 && own >= 0)
		return all > own ? all : own;
	report(checking, VIP_CHECK_FAULT, "interface %s: %s cannot be read: %s", interface, setting, strerror(errno));
	return -1;
}

static void check_arp(struct checking *checking, const char *interface)
{
	char command[INTERFACE_SYSCTL_COMMAND_MAX];
	long ignore = effective(checking, interface, "arp_ignore");
	long announce = effective(checking, interface, "arp_announce");
	long filter = effective(checking, interface, "rp_filter");

	/* 1 and 2 answer for addresses of the interface only, 8 for none; 3 would still answer for a VIP of global
	 * scope. */
	if (ignore >= 0 && ignore != 1 && ignore != 2 && ignore != 8)
		report(checking, VIP_CHECK_FAULT,
		       "interface %s: arp_ignore is %ld, so this node would answer ARP for the VIP: %s", interface,
		       ignore, interface_sysctl_command(command, 4, interface, "arp_ignore", 1));
	if (announce >= 0 && announce != 2)
		report(checking, VIP_CHECK_FAULT,
		       "interface %s: arp_announce is %ld, so ARP requests would claim the VIP: %s", interface,
		       announce, interface_sysctl_command(command, 4, interface, "arp_announce", 2));
	if (filter == 1 && interface_sysctl(4, "all", "rp_filter") == 1)
		report(checking, VIP_CHECK_FAULT,
		       "interface %s: rp_filter of all interfaces is strict, so clients' packets that come by the load "
		       "balancer may be dropped: sysctl -w net.ipv4.conf.all.rp_filter=0 "
		       "net.ipv4.conf.%s.rp_filter=2",
		       interface, interface);
	else if (filter == 1)
		report(checking, VIP_CHECK_FAULT,
		       "interface %s: rp_filter is strict, so clients' packets that come by the load balancer may be "
		       "dropped: %s",
		       interface, interface_sysctl_command(command, 4, interface, "rp_filter", 2));
}

static void check_ipv6(struct checking *checking, const char *interface)
{
	char command[INTERFACE_SYSCTL_COMMAND_MAX];

	if (interface_sysctl(6, interface, "disable_ipv6") != 0)
		report(checking, VIP_CHECK_FAULT, "interface %s: IPv6 is off: %s", interface,
		       interface_sysctl_command(command, 6, interface, "disable_ipv6", 0));
	/* Proxying would answer solicitations for addresses that are elsewhere on this host. */
	if (interface_sysctl(6, interface, "proxy_ndp") > 0)
		report(checking, VIP_CHECK_NOTE,
		       "interface %s: proxy_ndp is on; the VIP must not be among its neighbours (ip -6 neighbour show "
		       "proxy)",
		       interface);
}

/* Reads flags and MTU of <interface>. Returns 0, or -1 with errno. */
static int read_interface(const char *interface, unsigned *flags, unsigned *mtu)
{
	struct ifreq request = {.ifr_mtu = 0};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), result = -1, error;

	if (fd < 0)
		return -1;
	memcpy(request.ifr_name, interface, strlen(interface) + 1);
	if (ioctl(fd, SIOCGIFFLAGS, &request) == 0) {
		*flags = (unsigned)(unsigned short)request.ifr_flags;
		result = ioctl(fd, SIOCGIFMTU, &request);
		*mtu = (unsigned)request.ifr_mtu;
	}
	error = errno;
	close(fd);
	errno = error;
	return result;
}

static void check_interface(struct checking *checking, const char *interface)
{
	const struct direct_settings *settings = checking->check->settings;
	unsigned flags, mtu;

	if (read_interface(interface, &flags, &mtu) < 0) {
		report(checking, VIP_CHECK_FAULT, "interface %s: %s", interface,
		       errno == ENODEV ? "there is none of that name" : strerror(errno));
		return;
	}
	if (!(flags & IFF_UP))
		report(checking, VIP_CHECK_FAULT, "interface %s: it is down: ip link set %s up", interface, interface);
	else if (!(flags & IFF_RUNNING))
		report(checking, VIP_CHECK_FAULT, "interface %s: it has no carrier", interface);
	if (mtu < MTU_USUAL)
		report(checking, VIP_CHECK_NOTE,
		       "interface %s: its MTU is %u; it must not be below that of the load balancer's interface to its "
		       "clients",
		       interface, mtu);
	if (has_family(settings, 4))
		check_arp(checking, interface);
	if (has_family(settings, 6))
		check_ipv6(checking, interface);
}

/* --- the way to clients --- */

/* Of some address behind the default route only notes are made: clients may all be reached by other ones. */
static void check_route(struct checking *checking, const struct ip_address *vip, const uint8_t client[static 16],
			bool is_default)
{
	enum vip_check_weight weight = is_default ? VIP_CHECK_NOTE : VIP_CHECK_FAULT;
	const struct direct_settings *settings = checking->check->settings;
	char from[IP_ADDRESS_TEXT_MAX], to[IP_ADDRESS_TEXT_MAX], name[IF_NAMESIZE];
	struct ip_address destination = {.family = vip->family};
	struct route_found found;

	memcpy(destination.address, client, sizeof(destination.address));
	(void)ip_address_format(vip, from);
	if (is_default)
		strcpy(to, "default");
	else
		(void)ip_address_format(&destination, to);
	if (route_lookup(vip->family, client, vip->address, &found) < 0) {
		report(checking, weight, "route from vip %s to %s: %s: ip%s route add %s via GATEWAY dev %s", from, to,
		       strerror(errno), vip->family == 6 ? " -6" : "", to, settings->interfaces[0]);
		return;
	}
	if (!if_indextoname(found.interface, name))
		(void)snprintf(name, sizeof(name), "#%u", found.interface);
	if (!is_listed(settings, name))
		report(checking, weight,
		       "route from vip %s to %s: it leaves by %s, which direct.interface does not name", from, to,
		       name);
	if (found.mtu > 0 && found.mtu < MTU_USUAL)
		report(checking, VIP_CHECK_NOTE, "route from vip %s to %s: its MTU is %u", from, to, found.mtu);
}

static void check_routes(struct checking *checking, const struct ip_address *vip)
{
	bool given = false;

	for (size_t i = 0; i < checking->check->client_count; i++) {
		const struct ip_address *client = &checking->check->clients[i];

		if (client->family != vip->family)
			continue;
		given = true;
		check_route(checking, vip, client->address, false);
	}
	if (!given)
		check_route(checking, vip, vip->family == 6 ? anywhere6 : anywhere4, true);
}

/* --- this process --- */

static void check_congestion(struct checking *checking)
{
	const char *name = checking->check->settings->congestion;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (!name || fd < 0) {
		if (fd >= 0)
			close(fd);
		return;
	}
	if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name)) < 0)
		report(checking, VIP_CHECK_FAULT,
		       errno == ENOENT ? "congestion-control %s: the kernel has none of that name: modprobe tcp_%s"
				       : "congestion-control %s: this process may not use it: sysctl -w "
					 "net.ipv4.tcp_allowed_congestion_control=\"reno cubic %s\"",
		       name, name);
	close(fd);
}

/* A connection is tracked here from its middle on, unless this host is strict and cannot be told of it. */
static void check_tracking(struct checking *checking)
{
	struct connection_tracking tracking;
	struct connection_tracking_host host;

	connection_tracking_look(&host);
	if (checking->check->settings->ignore_tracking || !host.active)
		return;
	connection_tracking_open(&tracking);
	if (connection_tracking_works(&tracking) < 0)
		report(checking, host.loose ? VIP_CHECK_NOTE : VIP_CHECK_FAULT,
		       "connection tracking is active and cannot be told of connections (%s): sysctl -w "
		       "net.netfilter.nf_conntrack_tcp_loose=1 net.netfilter.nf_conntrack_tcp_be_liberal=1, and let "
		       "packets to the VIP in that belong to no known connection",
		       strerror(errno));
	connection_tracking_close(&tracking);
}

/* The guard itself is not tried: that would take the place of one that is at work. */
static void check_process(struct checking *checking)
{
	struct tcp_fault fault;
	char missing[128], no_bpf[128];

	/* Engines of containers that do not know CAP_BPF give CAP_SYS_ADMIN instead. */
	if (capabilities_have("cap_net_admin cap_net_bind_service cap_bpf", missing, sizeof(missing)) < 0 &&
	    capabilities_have("cap_net_admin cap_net_bind_service cap_sys_admin", no_bpf, sizeof(no_bpf)) < 0)
		report(checking, VIP_CHECK_FAULT,
		       "this process lacks %s: run as root, or let the unit say "
		       "AmbientCapabilities=CAP_NET_ADMIN CAP_NET_BIND_SERVICE CAP_BPF CAP_PERFMON",
		       missing);
	else if (tcp_repair_check(&fault) < 0)
		report(checking, VIP_CHECK_FAULT, "TCP connections cannot be restored here: %s: %s", fault.call,
		       strerror(fault.error));
	check_congestion(checking);
}

unsigned vip_check_run(const struct vip_check *check)
{
	const struct direct_settings *settings = check->settings;
	struct checking checking = {check, 0};
	struct ifaddrs *all = NULL;

	if (getifaddrs(&all) < 0)
		report(&checking, VIP_CHECK_FAULT, "the addresses of this host cannot be read: %s", strerror(errno));
	for (const char **name = settings->interfaces; *name; name++)
		check_interface(&checking, *name);
	for (size_t i = 0; all && i < settings->vip_count; i++)
		if (check_vip(&checking, &settings->vips[i], all))
			check_routes(&checking, &settings->vips[i]);
	freeifaddrs(all);
	check_process(&checking);
	check_tracking(&checking);
	return checking.faults;
}
