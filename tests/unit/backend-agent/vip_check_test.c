/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards the check of a host for the direct path: a host as it should be has no finding, each thing that is wrong is
 * one finding, and the command that a finding names mends it. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "netns.h"
#include "vip_check.h"

#define FINDINGS_MAX 8

struct host {
	struct netns netns;
	struct ip_address vips[2], clients[2];
	const char *interfaces[2];
	struct direct_settings settings;
	struct vip_check check;
	unsigned faults, notes;
	char findings[FINDINGS_MAX][VIP_CHECK_TEXT_MAX];
};

static void on_found(void *context, enum vip_check_weight weight, const char *text)
{
	struct host *host = context;

	assert_null(strchr(text, '\n'));
	if (weight == VIP_CHECK_NOTE) {
		host->notes++;
		return;
	}
	assert_true(host->faults < FINDINGS_MAX);
	(void)snprintf(host->findings[host->faults++], VIP_CHECK_TEXT_MAX, "%s", text);
}

static void set_address(struct ip_address *address, uint8_t family, const char *text)
{
	address->family = family;
	assert_int_equal(inet_pton(family == 6 ? AF_INET6 : AF_INET, text, address->address), 1);
}

static void run_in(const struct host *host, const char *command)
{
	if (netns_do(&host->netns, "%s", command) < 0)
		fail_msg("failed: %s", command);
}

/* A host as it should be. */
static int host_open(void **state)
{
	struct host *host = calloc(1, sizeof(*host));

	assert_non_null(host);
	assert_int_equal(netns_make(&host->netns), 0);
	assert_int_equal(netns_link(&host->netns, "eth0", &host->netns, "peer"), 0);
	run_in(host, "set -e; ip addr add 10.0.0.1/24 dev eth0; ip addr add fd00::1/64 dev eth0; "
		     "ip addr add 192.0.2.1/32 dev lo; ip addr add 2001:db8::1/128 dev lo; "
		     "ip route add default via 10.0.0.2; ip -6 route add default via fd00::2; "
		     "cd /proc/sys/net/ipv4/conf; echo 0 >all/rp_filter; echo 0 >eth0/rp_filter; "
		     "echo 1 >eth0/arp_ignore; echo 2 >all/arp_announce");
	set_address(&host->vips[0], 4, "192.0.2.1");
	set_address(&host->vips[1], 6, "2001:db8::1");
	set_address(&host->clients[0], 4, "198.51.100.7");
	set_address(&host->clients[1], 6, "2001:db8:1::7");
	host->interfaces[0] = "eth0";
	host->settings = (struct direct_settings){
		.vips = host->vips, .vip_count = 2, .interfaces = host->interfaces, .congestion = "reno"};
	host->check = (struct vip_check){&host->settings, host->clients, 2, on_found, host};
	*state = host;
	return 0;
}

static int host_close(void **state)
{
	struct host *host = *state;

	netns_release(&host->netns);
	free(host);
	return 0;
}

static void look(struct host *host)
{
	unsigned faults;

	host->faults = host->notes = 0;
	assert_int_equal(netns_enter(&host->netns), 0);
	faults = vip_check_run(&host->check);
	assert_int_equal(netns_leave(), 0);
	assert_int_equal(faults, host->faults);
}

static void assert_ready(struct host *host)
{
	look(host);
	if (host->faults)
		fail_msg("%s", host->findings[0]);
	assert_int_equal(host->notes, 0);
}

/* After <command> there is the one finding <expected>; with <mends>, the command behind its last ": " makes the host
 * ready again. */
static void assert_found(struct host *host, const char *command, const char *expected, bool mends)
{
	const char *mending;

	run_in(host, command);
	look(host);
	if (host->faults != 1)
		fail_msg("%u findings after: %s", host->faults, command);
	assert_string_equal(host->findings[0], expected);
	if (!mends)
		return;
	mending = strstr(host->findings[0], ": ip ");
	if (!mending)
		mending = strstr(host->findings[0], ": sysctl ");
	assert_non_null(mending);
	run_in(host, mending + 2);
	assert_ready(host);
}

static void host_as_it_should_be_has_no_finding(void **state)
{
	assert_ready(*state);
}

static void missing_vip_is_found(void **state)
{
	assert_found(*state, "ip addr del 192.0.2.1/32 dev lo",
		     "vip 192.0.2.1: it is not on this node: ip address add 192.0.2.1/32 dev lo", true);
	assert_found(*state, "ip addr del 2001:db8::1/128 dev lo",
		     "vip 2001:db8::1: it is not on this node: ip address add 2001:db8::1/128 dev lo", true);
}

static void vip_where_it_is_told_of_is_found(void **state)
{
	assert_found(*state, "ip addr del 192.0.2.1/32 dev lo && ip addr add 192.0.2.1/24 dev eth0",
		     "vip 192.0.2.1: it is on eth0, where others are told that it is here: ip address del 192.0.2.1/24 "
		     "dev eth0 && ip address add 192.0.2.1/32 dev lo",
		     true);
	assert_found(*state, "ip addr del 2001:db8::1/128 dev lo && ip addr add 2001:db8::1/64 dev eth0",
		     "vip 2001:db8::1: it is on eth0, where others are told that it is here: ip address del "
		     "2001:db8::1/64 dev eth0 && ip address add 2001:db8::1/128 dev lo",
		     true);
}

static void vip_with_neighbours_is_found(void **state)
{
	assert_found(*state, "ip addr del 192.0.2.1/32 dev lo && ip addr add 192.0.2.1/24 dev lo",
		     "vip 192.0.2.1: its prefix is /24, so its neighbours would be taken for this host too: ip address "
		     "del 192.0.2.1/24 dev lo && ip address add 192.0.2.1/32 dev lo",
		     true);
}

static void vip_on_a_dummy_is_as_good_as_on_lo(void **state)
{
	struct host *host = *state;

	run_in(host, "ip link add vip0 type dummy 2>/dev/null || exit 0; ip link set vip0 up && "
		     "ip addr del 192.0.2.1/32 dev lo && ip addr add 192.0.2.1/32 dev vip0 && "
		     "ip addr del 2001:db8::1/128 dev lo && ip addr add 2001:db8::1/128 dev vip0");
	assert_ready(host);
}

static void arp_settings_are_found(void **state)
{
	assert_found(*state, "echo 0 >/proc/sys/net/ipv4/conf/eth0/arp_ignore",
		     "interface eth0: arp_ignore is 0, so this node would answer ARP for the VIP: sysctl -w "
		     "net.ipv4.conf.eth0.arp_ignore=1",
		     true);
	assert_found(*state, "echo 3 >/proc/sys/net/ipv4/conf/eth0/arp_ignore",
		     "interface eth0: arp_ignore is 3, so this node would answer ARP for the VIP: sysctl -w "
		     "net.ipv4.conf.eth0.arp_ignore=1",
		     true);
	assert_found(*state, "echo 1 >/proc/sys/net/ipv4/conf/all/arp_announce",
		     "interface eth0: arp_announce is 1, so ARP requests would claim the VIP: sysctl -w "
		     "net.ipv4.conf.eth0.arp_announce=2",
		     true);
}

static void strict_reverse_path_filter_is_found(void **state)
{
	assert_found(*state, "echo 1 >/proc/sys/net/ipv4/conf/eth0/rp_filter",
		     "interface eth0: rp_filter is strict, so clients' packets that come by the load balancer may be "
		     "dropped: sysctl -w net.ipv4.conf.eth0.rp_filter=2",
		     true);
	/* The larger of both holds, and loose is larger than strict. */
	run_in(*state, "echo 1 >/proc/sys/net/ipv4/conf/all/rp_filter");
	assert_ready(*state);
}

static void interface_without_ipv6_is_found(void **state)
{
	struct host *host = *state;

	run_in(host, "echo 1 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6");
	look(host);
	assert_int_equal(host->faults, 2);
	assert_string_equal(host->findings[0],
			    "interface eth0: IPv6 is off: sysctl -w net.ipv6.conf.eth0.disable_ipv6=0");
	assert_non_null(strstr(host->findings[1], "route from vip 2001:db8::1 to 2001:db8:1::7: "));
}

static void interface_that_is_down_is_found(void **state)
{
	struct host *host = *state;

	run_in(host, "ip link set eth0 down");
	look(host);
	assert_string_equal(host->findings[0], "interface eth0: it is down: ip link set eth0 up");
	/* The kernel tells of a lost carrier some time later. */
	run_in(host, "ip link set eth0 up && ip link set peer down && "
		     "timeout 20 sh -c 'until ip link show eth0 | grep -q NO-CARRIER; do sleep 0.01; done'");
	look(host);
	assert_string_equal(host->findings[0], "interface eth0: it has no carrier");
}

static void interface_that_does_not_exist_is_found(void **state)
{
	struct host *host = *state;

	host->interfaces[0] = "eth7";
	look(host);
	assert_int_equal(host->faults, 3);
	assert_string_equal(host->findings[0], "interface eth7: there is none of that name");
	assert_string_equal(
		host->findings[1],
		"route from vip 192.0.2.1 to 198.51.100.7: it leaves by eth0, which direct.interface does not name");
}

static void missing_route_is_found(void **state)
{
	struct host *host = *state;

	run_in(host, "ip route del default");
	look(host);
	assert_int_equal(host->faults, 1);
	assert_string_equal(host->findings[0], "route from vip 192.0.2.1 to 198.51.100.7: Network is unreachable: ip "
					       "route add 198.51.100.7 via GATEWAY dev eth0");
	/* Nobody said where clients are. */
	host->check.client_count = 0;
	look(host);
	assert_int_equal(host->faults, 0);
	assert_int_equal(host->notes, 1);
}

static void small_mtu_is_noted(void **state)
{
	struct host *host = *state;

	run_in(host, "ip link set eth0 mtu 1400");
	look(host);
	assert_int_equal(host->faults, 0);
	assert_int_equal(host->notes, 1);
}

static void unknown_congestion_control_is_found(void **state)
{
	struct host *host = *state;

	host->settings.congestion = "nonesuch";
	look(host);
	assert_int_equal(host->faults, 1);
	assert_string_equal(host->findings[0],
			    "congestion-control nonesuch: the kernel has none of that name: modprobe tcp_nonesuch");
}

int main(void)
{
#define HOST_TEST(name) cmocka_unit_test_setup_teardown(name, host_open, host_close)
	const struct CMUnitTest tests[] = {
		HOST_TEST(host_as_it_should_be_has_no_finding),
		HOST_TEST(missing_vip_is_found),
		HOST_TEST(vip_where_it_is_told_of_is_found),
		HOST_TEST(vip_with_neighbours_is_found),
		HOST_TEST(vip_on_a_dummy_is_as_good_as_on_lo),
		HOST_TEST(arp_settings_are_found),
		HOST_TEST(strict_reverse_path_filter_is_found),
		HOST_TEST(interface_without_ipv6_is_found),
		HOST_TEST(interface_that_is_down_is_found),
		HOST_TEST(interface_that_does_not_exist_is_found),
		HOST_TEST(missing_route_is_found),
		HOST_TEST(small_mtu_is_noted),
		HOST_TEST(unknown_congestion_control_is_found),
	};
	char why[200];

	if (!netns_usable(why, sizeof(why))) {
		fprintf(stderr, "skipped: %s\n", why);
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
