/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards that a file's entity tag is the digest of what is in it, on every node, and never that of what was in it: not of
 * a file that was replaced in place with size and time kept, nor of one that changed while it was read, nor what an
 * attribute says that is another file's. */
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "digest_attribute.h"
#include "digest_table.h"
#include "digester.h"
#include "node_metrics.h"

#define PATIENCE_S 60
#define FAST (1u << 30)
/* printf hello | sha256sum, and of world */
#define HELLO "\"sha256-2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824\""
#define WORLD "\"sha256-486ea46224d1bb4fb680f34f7c9ad96a8f24ec88be73ea8e5a6c65260e9cb8a7\""

static char root[64];
static struct file_source *source;
static struct digester *digester;

static const char *path_of(const char *name)
{
	static char path[128];

	(void)snprintf(path, sizeof(path), "%s/%s", root, name);
	return path;
}

/* In place, with a time of whole seconds. */
static void write_file(const char *name, const char *text)
{
	const struct timespec whole[2] = {{1000000000, 0}, {1000000000, 0}};
	int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	assert_int_equal(futimens(fd, whole) + close(fd), 0);
}

static void start(uint64_t rate)
{
	const struct digester_settings settings = {source, rate};

	digester = digester_start(&settings);
	assert_non_null(digester);
}

static void stop(void)
{
	digester_stop(digester);
	digester = NULL;
}

static int make_root(void **state)
{
	(void)state;
	strcpy(root, "/tmp/disc-digest-XXXXXX");
	assert_non_null(mkdtemp(root));
	source = file_source_new(root);
	assert_non_null(source);
	return 0;
}

static int remove_root(void **state)
{
	char command[128];

	(void)state;
	if (digester)
		stop();
	file_source_free(source);
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", root);
	return system(command);
}

static void read_etag(const char *name, char etag[static FILE_ETAG_MAX])
{
	struct file_object object;

	assert_int_equal(file_source_open(source, name, &object), FILE_OK);
	file_object_etag(&object, etag);
	file_object_close(&object);
}

/* Asks until <name>'s tag is no weak one any more. */
static void await_strong(const char *name, char etag[static FILE_ETAG_MAX])
{
	time_t end = time(NULL) + PATIENCE_S;

	do {
		read_etag(name, etag);
		(void)usleep(1000);
	} while (etag[0] == 'W' && time(NULL) < end);
	assert_int_equal(etag[0], '"');
}

static void assert_becomes(const char *name, const char *expected)
{
	char etag[FILE_ETAG_MAX];

	await_strong(name, etag);
	assert_string_equal(etag, expected);
}

/* Opens <name> without asking for its digest, and reads its attribute. */
static enum digest_attribute_status attribute_of(const char *name, int64_t later_ns)
{
	uint8_t digest[FILE_DIGEST_LEN];
	struct file_object object;
	enum digest_attribute_status status;
	struct timespec now;

	assert_int_equal(file_source_open_plainly(source, name, &object), FILE_OK);
	assert_int_equal(clock_gettime(CLOCK_REALTIME, &now), 0);
	now.tv_sec += later_ns / 1000000000;
	status = digest_attribute_read(&object, &now, digest);
	file_object_close(&object);
	return status;
}

static void tag_is_the_digest_of_each_copy_whatever_its_time(void **state)
{
	const struct timespec other[2] = {{1100000000, 5}, {1100000000, 5}};
	char etag[FILE_ETAG_MAX];

	(void)state;
	write_file("first", "hello");
	write_file("second", "hello");
	assert_int_equal(utimensat(AT_FDCWD, path_of("second"), other, 0), 0);
	start(FAST);
	assert_becomes("first", HELLO);
	do
		await_strong("second", etag);
	while (strncmp(etag, "\"sha256-", 8) != 0);
	assert_string_equal(etag, HELLO);
}

static void file_that_nobody_asked_for_is_digested_too(void **state)
{
	int64_t before = node_metric_value(NODE_DIGESTS);
	time_t end = time(NULL) + PATIENCE_S;
	char etag[FILE_ETAG_MAX];

	(void)state;
	assert_int_equal(mkdir(path_of("folder"), 0755), 0);
	assert_int_equal(mkdir(path_of("folder/inner"), 0755), 0);
	write_file("folder/inner/file", "world");
	assert_int_equal(symlink("/etc", path_of("folder/link")), 0);
	start(FAST);
	while (node_metric_value(NODE_DIGESTS) == before && time(NULL) < end)
		(void)usleep(1000);
	read_etag("folder/inner/file", etag);
	assert_string_equal(etag, WORLD);
	assert_int_equal(node_metric_value(NODE_DIGESTS), before + 1);
}

static void replaced_in_place_with_size_and_time_kept_is_another(void **state)
{
	char etag[FILE_ETAG_MAX];

	(void)state;
	start(FAST);
	for (int i = 0; i < 5; i++) {
		write_file("file", "hello");
		assert_becomes("file", HELLO);
		write_file("file", "world");
		read_etag("file", etag);
		assert_string_not_equal(etag, HELLO);
		assert_becomes("file", WORLD);
	}
}

/* At every moment of the digester's work. */
static void tag_is_never_that_of_an_earlier_content(void **state)
{
	char etag[FILE_ETAG_MAX];

	(void)state;
	start(FAST);
	for (unsigned i = 0; i < 120; i++) {
		const char *wrong = i % 2 ? HELLO : WORLD;

		write_file("file", i % 2 ? "world" : "hello");
		for (unsigned j = 0; j < i * 7 % 23; j++) {
			read_etag("file", etag);
			assert_string_not_equal(etag, wrong);
			(void)usleep(1700);
		}
	}
	stop();
	assert_int_not_equal(attribute_of("file", 2000000000), DIGEST_ATTRIBUTE_FRESH);
	start(FAST);
	assert_becomes("file", WORLD);
}

/* In the tick in which the attribute was written, the change time says nothing. */
static void write_right_behind_the_attribute_takes_it_back(void **state)
{
	time_t end = time(NULL) + PATIENCE_S;
	char value[256];

	(void)state;
	write_file("file", "hello");
	start(FAST);
	while (getxattr(path_of("file"), DIGEST_ATTRIBUTE_NAME, value, sizeof(value)) < 0 && time(NULL) < end)
		(void)sched_yield();
	write_file("file", "world");
	assert_becomes("file", WORLD);
}

static void file_that_changes_while_it_is_read_gets_no_digest(void **state)
{
	const struct timespec whole[2] = {{1000000000, 0}, {1000000000, 0}};
	int64_t discarded = node_metric_value(NODE_DIGESTS_DISCARDED), read = node_metric_value(NODE_DIGEST_BYTES);
	time_t end = time(NULL) + PATIENCE_S;
	char etag[FILE_ETAG_MAX];
	int fd;

	(void)state;
	write_file("file", "hello");
	assert_int_equal(truncate(path_of("file"), 300000), 0);
	assert_int_equal(utimensat(AT_FDCWD, path_of("file"), whole, 0), 0);
	start(131072 * 10);
	while (node_metric_value(NODE_DIGEST_BYTES) == read && time(NULL) < end)
		(void)usleep(100);
	/* Its first bytes, which were read. */
	fd = open(path_of("file"), O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "world", 5, 0), 5);
	assert_int_equal(futimens(fd, whole) + close(fd), 0);
	while (node_metric_value(NODE_DIGESTS_DISCARDED) == discarded && time(NULL) < end)
		(void)usleep(100);
	assert_int_equal(node_metric_value(NODE_DIGESTS_DISCARDED), discarded + 1);
	await_strong("file", etag);
	/* head -c 300000 of world and zeros */
	assert_string_equal(etag, "\"sha256-2c0399ab8e14f1d7a46ddca01df0472bb8b15f39309b38313a575c5d04070849\"");
}

static void digest_outlives_the_process(void **state)
{
	int64_t digests;

	(void)state;
	write_file("file", "hello");
	start(FAST);
	assert_becomes("file", HELLO);
	stop();
	assert_int_equal(attribute_of("file", 2000000000), DIGEST_ATTRIBUTE_GOOD);
	digests = node_metric_value(NODE_DIGESTS);
	start(FAST);
	assert_becomes("file", HELLO);
	assert_int_equal(node_metric_value(NODE_DIGESTS), digests);
}

static void attribute_of_another_file_or_time_is_not_believed(void **state)
{
	char value[256];
	ssize_t len;

	(void)state;
	write_file("file", "hello");
	start(FAST);
	assert_becomes("file", HELLO);
	stop();
	len = getxattr(path_of("file"), DIGEST_ATTRIBUTE_NAME, value, sizeof(value));
	assert_true(len > 0);
	/* A copy with its attributes, as cp -a makes it. */
	write_file("copy", "world");
	assert_int_equal(setxattr(path_of("copy"), DIGEST_ATTRIBUTE_NAME, value, (size_t)len, 0), 0);
	assert_int_equal(attribute_of("copy", 2000000000), DIGEST_ATTRIBUTE_NONE);
	/* Other bytes in the file, and the attribute written again. */
	assert_int_equal(attribute_of("file", 2000000000), DIGEST_ATTRIBUTE_GOOD);
	for (int i = 0; i < 1000 && attribute_of("file", 2000000000) == DIGEST_ATTRIBUTE_GOOD; i++) {
		write_file("file", "world");
		assert_int_equal(setxattr(path_of("file"), DIGEST_ATTRIBUTE_NAME, value, (size_t)len, 0), 0);
		(void)usleep(1000); /* until the clock of files has left the window */
	}
	assert_int_equal(attribute_of("file", 2000000000), DIGEST_ATTRIBUTE_NONE);
	for (const char *const *bad =
		     (const char *const[]){"", "1", "2 5 1 1 1 x", "1 5 1000000000000000000 1 1 zz", NULL};
	     *bad; bad++) {
		assert_int_equal(setxattr(path_of("file"), DIGEST_ATTRIBUTE_NAME, *bad, strlen(*bad), 0), 0);
		assert_int_equal(attribute_of("file", 2000000000), DIGEST_ATTRIBUTE_NONE);
	}
	start(FAST);
	assert_becomes("file", WORLD);
	assert_becomes("copy", WORLD);
}

static void fresh_attribute_is_not_believed_yet(void **state)
{
	uint8_t digest[FILE_DIGEST_LEN] = {1};
	struct file_object object;

	(void)state;
	write_file("file", "hello");
	assert_int_equal(file_source_open(source, "file", &object), FILE_OK);
	assert_int_equal(digest_attribute_write(&object, digest), 0);
	file_object_close(&object);
	assert_int_equal(attribute_of("file", -2000000000), DIGEST_ATTRIBUTE_FRESH);
	assert_int_equal(attribute_of("file", 2000000000), DIGEST_ATTRIBUTE_GOOD);
}

static void digest_is_kept_in_memory_where_there_are_no_attributes(void **state)
{
	char none[8];

	(void)state;
	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0)
		skip();
	assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	assert_int_equal(mkdir(path_of("ram"), 0755), 0);
	assert_int_equal(mount("none", path_of("ram"), "ramfs", 0, NULL), 0);
	/* Opened in this namespace of mounts. */
	file_source_free(source);
	source = file_source_new(root);
	assert_non_null(source);
	write_file("ram/file", "hello");
	start(FAST);
	assert_becomes("ram/file", HELLO);
	assert_true(getxattr(path_of("ram/file"), DIGEST_ATTRIBUTE_NAME, none, sizeof(none)) < 0);
	write_file("ram/file", "world");
	assert_becomes("ram/file", WORLD);
	stop();
	file_source_free(source);
	source = NULL;
	assert_int_equal(umount(path_of("ram")), 0);
}

static void table_knows_a_file_as_it_was_and_forgets_the_oldest(void **state)
{
	struct digest_table *table = digest_table_new();
	struct file_object object = {.fd = -1, .device = 1, .inode = 7, .size = 5}, other;
	uint8_t digest[FILE_DIGEST_LEN], found[FILE_DIGEST_LEN];
	unsigned known = 0;

	(void)state;
	assert_non_null(table);
	memset(digest, 0x5a, sizeof(digest));
	assert_int_equal(digest_table_find(table, &object, found), DIGEST_UNKNOWN);
	digest_table_await(table, &object);
	assert_int_equal(digest_table_find(table, &object, found), DIGEST_AWAITED);
	digest_table_set(table, &object, digest);
	assert_int_equal(digest_table_find(table, &object, found), DIGEST_KNOWN);
	assert_memory_equal(found, digest, sizeof(digest));
	other = object, other.size++;
	assert_int_equal(digest_table_find(table, &other, found), DIGEST_UNKNOWN);
	other = object, other.mtime.tv_nsec++;
	assert_int_equal(digest_table_find(table, &other, found), DIGEST_UNKNOWN);
	other = object, other.ctime.tv_nsec++;
	assert_int_equal(digest_table_find(table, &other, found), DIGEST_UNKNOWN);
	other = object, other.inode++;
	assert_int_equal(digest_table_find(table, &other, found), DIGEST_UNKNOWN);
	other = object, other.device++;
	assert_int_equal(digest_table_find(table, &other, found), DIGEST_UNKNOWN);
	digest_table_forget(table, &object);
	assert_int_equal(digest_table_find(table, &object, found), DIGEST_UNKNOWN);
	for (object.inode = 1; object.inode <= 3 * DIGEST_TABLE_MAX; object.inode++) {
		digest_table_set(table, &object, digest);
		assert_int_equal(digest_table_find(table, &object, found), DIGEST_KNOWN);
	}
	for (object.inode = 1; object.inode <= 3 * DIGEST_TABLE_MAX; object.inode++)
		known += digest_table_find(table, &object, found) == DIGEST_KNOWN;
	assert_true(known <= DIGEST_TABLE_MAX);
	digest_table_free(table);
}

#define ROOT_TEST(name) cmocka_unit_test_setup_teardown(name, make_root, remove_root)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ROOT_TEST(file_that_changes_while_it_is_read_gets_no_digest),
		ROOT_TEST(write_right_behind_the_attribute_takes_it_back),
		ROOT_TEST(tag_is_never_that_of_an_earlier_content),
		ROOT_TEST(replaced_in_place_with_size_and_time_kept_is_another),
		ROOT_TEST(attribute_of_another_file_or_time_is_not_believed),
		ROOT_TEST(fresh_attribute_is_not_believed_yet),
		ROOT_TEST(tag_is_the_digest_of_each_copy_whatever_its_time),
		ROOT_TEST(file_that_nobody_asked_for_is_digested_too),
		ROOT_TEST(digest_outlives_the_process),
		ROOT_TEST(digest_is_kept_in_memory_where_there_are_no_attributes),
		cmocka_unit_test(table_knows_a_file_as_it_was_and_forgets_the_oldest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
