/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "capabilities.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>

#define NAME_MAX_LEN 40
#define VALUES_MAX 64

/* Takes the next name of <*set> into <name>. Returns false at the end; what is too long for a name comes out cut. */
static bool next_name(const char **set, char name[static NAME_MAX_LEN])
{
	size_t len;

	*set += strspn(*set, " ");
	len = strcspn(*set, " ");
	if (!len)
		return false;
	(void)snprintf(name, NAME_MAX_LEN, "%.*s", (int)len, *set);
	*set += len;
	return true;
}

int capabilities_have(const char *set, char *missing, size_t missing_size)
{
	cap_t own = cap_get_proc();
	char name[NAME_MAX_LEN];
	size_t used = 0;
	bool all = true;

	missing[0] = '\0';
	while (next_name(&set, name)) {
		cap_flag_value_t has = CAP_CLEAR;
		cap_value_t value;
		int written;

		if (own && cap_from_name(name, &value) == 0 && cap_get_flag(own, value, CAP_EFFECTIVE, &has) == 0 &&
		    has == CAP_SET)
			continue;
		all = false;
		written = snprintf(missing + used, missing_size - used, "%s%s", used ? " " : "", name);
		if (written > 0)
			used = used + (size_t)written < missing_size ? used + (size_t)written : missing_size - 1;
	}
	if (own)
		(void)cap_free(own);
	return all ? 0 : -1;
}

static int fail(char *error, size_t error_size, const char *what, const char *of)
{
	(void)snprintf(error, error_size, "cannot give up capabilities: %s%s: %s", what, of, strerror(errno));
	return -1;
}

static bool contains(const cap_value_t *values, int count, cap_value_t value)
{
	for (int i = 0; i < count; i++)
		if (values[i] == value)
			return true;
	return false;
}

/* Only with CAP_SETPCAP; without it no_new_privs is what keeps later programs from more. */
static int shrink_bounding_set(const cap_value_t *values, int count)
{
	for (cap_value_t value = 0; cap_get_bound(value) >= 0; value++)
		if (!contains(values, count, value) && cap_drop_bound(value) < 0 && errno != EPERM)
			return -1;
	return 0;
}

/* Those of <wanted> that the thread is permitted to have. Returns their number, or -1. */
static int choose_permitted(const cap_value_t *wanted, int count, cap_value_t *values)
{
	cap_t own = cap_get_proc();
	int chosen = 0;

	if (!own)
		return -1;
	for (int i = 0; i < count; i++) {
		cap_flag_value_t has = CAP_CLEAR;

		if (cap_get_flag(own, wanted[i], CAP_PERMITTED, &has) == 0 && has == CAP_SET)
			values[chosen++] = wanted[i];
	}
	(void)cap_free(own);
	return chosen;
}

static int set_all(const cap_value_t *values, int count)
{
	cap_t sets = cap_init();
	int result = -1;

	if (!sets)
		return -1;
	if (count == 0 || (cap_set_flag(sets, CAP_PERMITTED, count, values, CAP_SET) == 0 &&
			   cap_set_flag(sets, CAP_EFFECTIVE, count, values, CAP_SET) == 0))
		result = cap_set_proc(sets);
	(void)cap_free(sets);
	return result;
}

int capabilities_keep(const char *set, char *error, size_t error_size)
{
	cap_value_t wanted[VALUES_MAX], values[VALUES_MAX];
	char name[NAME_MAX_LEN];
	int count = 0;

	while (next_name(&set, name)) {
		if (count == VALUES_MAX)
			return errno = E2BIG, fail(error, error_size, "too many names", "");
		if (cap_from_name(name, &wanted[count]) < 0)
			return fail(error, error_size, "no such name: ", name);
		count++;
	}
	if (shrink_bounding_set(wanted, count) < 0)
		return fail(error, error_size, "bounding set", "");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L) < 0)
		return fail(error, error_size, "no_new_privs", "");
	if (cap_reset_ambient() < 0)
		return fail(error, error_size, "ambient set", "");
	count = choose_permitted(wanted, count, values);
	if (count < 0 || set_all(values, count) < 0)
		return fail(error, error_size, "permitted set", "");
	return 0;
}
