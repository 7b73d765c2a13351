/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guards that nothing outside the root is ever opened, that nothing but regular files is, and that a changed file
 * shows. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "file_source.h"

static char top[64]; /* has "outside" and the root, "root" */
static struct file_source *source;

static void write_file(const char *name, const char *text)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	assert_int_equal(close(fd), 0);
}

static void bind_socket(const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	strcpy(address.sun_path, name);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(close(fd), 0);
}

static int make_tree(void **state)
{
	char absolute[128];

	(void)state;
	strcpy(top, "/tmp/disc-files-XXXXXX");
	assert_non_null(mkdtemp(top));
	assert_int_equal(chdir(top), 0);
	write_file("outside", "secret");
	assert_int_equal(mkdir("root", 0755), 0);
	assert_int_equal(mkdir("root/folder", 0755), 0);
	write_file("root/file", "hello");
	write_file("root/folder/file", "in the folder");
	assert_int_equal(symlink("../file", "root/folder/up"), 0);
	assert_int_equal(symlink("folder/../file", "root/around"), 0);
	assert_int_equal(symlink("folder", "root/to-folder"), 0);
	assert_int_equal(symlink("../outside", "root/leads-out"), 0);
	assert_int_equal(symlink("..", "root/to-top"), 0);
	assert_int_equal(symlink("/etc/passwd", "root/absolute"), 0);
	(void)snprintf(absolute, sizeof(absolute), "%s/root/file", top);
	assert_int_equal(symlink(absolute, "root/absolute-inside"), 0);
	assert_int_equal(symlink("loop", "root/loop"), 0);
	assert_int_equal(symlink("nowhere", "root/dangling"), 0);
	assert_int_equal(symlink("/proc/self/root", "root/proc-root"), 0);
	assert_int_equal(symlink("/dev/null", "root/device"), 0);
	assert_int_equal(mkfifo("root/fifo", 0644), 0);
	bind_socket("root/socket");
	source = file_source_new("root");
	assert_non_null(source);
	return 0;
}

static int remove_tree(void **state)
{
	char command[128];

	(void)state;
	file_source_free(source);
	assert_int_equal(chdir("/"), 0);
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", top);
	return system(command);
}

static void assert_refused(const char *path, enum file_status expected)
{
	struct file_object object;
	enum file_status status = file_source_open(source, path, &object);

	if (status != expected)
		fail_msg("\"%s\": status %d, expected %d", path, (int)status, (int)expected);
	assert_int_equal(object.fd, -1);
}

static void what_leads_out_of_the_root_is_forbidden(void **state)
{
	static const char *const paths[] = {"..",
					    "../outside",
					    "folder/../../outside",
					    "leads-out",
					    "to-top",
					    "to-top/outside",
					    "to-folder/../../outside",
					    "absolute",
					    "absolute-inside",
					    "/etc/passwd",
					    "/",
					    "proc-root",
					    "proc-root/etc/passwd",
					    "device"};

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		assert_refused(paths[i], FILE_FORBIDDEN);
}

static void loop_of_links_is_forbidden(void **state)
{
	(void)state;
	assert_refused("loop", FILE_FORBIDDEN);
}

static void fifo_and_socket_are_forbidden_without_waiting(void **state)
{
	(void)state;
	assert_refused("fifo", FILE_FORBIDDEN);
	assert_refused("socket", FILE_FORBIDDEN);
}

static void device_inside_the_root_is_forbidden(void **state)
{
	(void)state;
	if (mknod("root/null", S_IFCHR | 0666, makedev(1, 3)) < 0)
		skip(); /* not root */
	assert_refused("null", FILE_FORBIDDEN);
}

static void magic_links_are_forbidden(void **state)
{
	struct file_source *proc = file_source_new("/proc/self");
	struct file_object object;
	char path[32];
	int fd = open("outside", O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_non_null(proc);
	assert_true(fd >= 0);
	(void)snprintf(path, sizeof(path), "fd/%d", fd);
	assert_int_equal(file_source_open(proc, path, &object), FILE_FORBIDDEN);
	assert_int_equal(file_source_open(proc, "root/etc/passwd", &object), FILE_FORBIDDEN);
	assert_int_equal(file_source_open(proc, "exe", &object), FILE_FORBIDDEN);
	file_source_free(proc);
	assert_int_equal(close(fd), 0);
}

static void what_is_not_there_is_not_found(void **state)
{
	char name[300], path[5000];

	(void)state;
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	memset(path, 'p', sizeof(path) - 1);
	for (size_t i = 100; i < sizeof(path) - 1; i += 100)
		path[i] = '/';
	path[sizeof(path) - 1] = '\0';
	assert_refused("none", FILE_NOT_FOUND);
	assert_refused("none/none", FILE_NOT_FOUND);
	assert_refused("file/", FILE_NOT_FOUND);
	assert_refused("file/none", FILE_NOT_FOUND);
	assert_refused("dangling", FILE_NOT_FOUND);
	assert_refused(name, FILE_NOT_FOUND);
	assert_refused(path, FILE_NOT_FOUND);
}

static void folders_are_told_apart(void **state)
{
	(void)state;
	assert_refused("", FILE_IS_DIRECTORY);
	assert_refused("folder", FILE_IS_DIRECTORY);
	assert_refused("folder/", FILE_IS_DIRECTORY);
	assert_refused("to-folder", FILE_IS_DIRECTORY);
}

static void root_must_be_a_folder(void **state)
{
	(void)state;
	assert_null(file_source_new("root/file"));
	assert_null(file_source_new("root/none"));
}

static void files_and_links_inside_are_opened(void **state)
{
	static const char *const paths[] = {"file", "folder/up", "around", "folder/../file", "to-folder/up"};
	struct file_object object;
	char text[8];

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		if (file_source_open(source, paths[i], &object) != FILE_OK)
			fail_msg("\"%s\" was not opened", paths[i]);
		assert_int_equal(object.size, 5);
		assert_int_equal(pread(object.fd, text, sizeof(text), 0), 5);
		assert_memory_equal(text, "hello", 5);
		assert_true(file_object_unchanged(&object));
		file_object_close(&object);
		assert_int_equal(object.fd, -1);
	}
}

static void change_in_place_shows_and_replacement_does_not(void **state)
{
	const struct timespec past[2] = {{1000000000, 0}, {1000000000, 0}};
	struct timespec later[2] = {{.tv_nsec = UTIME_OMIT}, {0}};
	char before[FILE_ETAG_MAX], after[FILE_ETAG_MAX];
	struct file_object object, second;

	(void)state;
	write_file("root/changing", "first");
	assert_int_equal(file_source_open(source, "changing", &object), FILE_OK);
	file_object_etag(&object, before);
	write_file("replacement", "other");
	assert_int_equal(utimensat(AT_FDCWD, "replacement", past, 0), 0); /* a clock tick may be coarse */
	assert_int_equal(rename("replacement", "root/changing"), 0);
	assert_true(file_object_unchanged(&object));
	assert_int_equal(file_source_open(source, "changing", &second), FILE_OK);
	file_object_etag(&second, after);
	assert_string_not_equal(before, after);
	later[1] = second.mtime;
	later[1].tv_nsec = (later[1].tv_nsec + 1) % 1000000000;
	assert_int_equal(futimens(second.fd, later), 0);
	assert_false(file_object_unchanged(&second));
	assert_int_equal(truncate("root/changing", 2), 0);
	assert_false(file_object_unchanged(&second));
	file_object_close(&object);
	file_object_close(&second);
}

/* Opens <path> below <from> and writes its entity tag into <etag>. */
static void read_etag(const struct file_source *from, const char *path, char etag[static FILE_ETAG_MAX])
{
	struct file_object object;

	assert_int_equal(file_source_open(from, path, &object), FILE_OK);
	file_object_etag(&object, etag);
	file_object_close(&object);
}

static void etag_is_that_of_every_copy_with_the_same_name_and_time(void **state)
{
	const struct timespec then[2] = {{1000000000, 5}, {1000000000, 5}},
			      other[2] = {{1000000000, 6}, {1000000000, 6}};
	char first[FILE_ETAG_MAX], second[FILE_ETAG_MAX];
	struct file_source *replica;

	(void)state;
	assert_int_equal(mkdir("replica", 0700), 0);
	replica = file_source_new("replica");
	assert_non_null(replica);
	write_file("root/object", "bytes");
	write_file("replica/object", "bytes");
	assert_int_equal(utimensat(AT_FDCWD, "root/object", then, 0), 0);
	assert_int_equal(utimensat(AT_FDCWD, "replica/object", then, 0), 0);
	read_etag(source, "object", first);
	read_etag(replica, "object", second);
	assert_string_equal(first, second);
	assert_string_equal(first, "\"5-de0b6b3a7640005-8dfeaf9950df0ffa\"");
	write_file("replica/namesake", "bytes");
	assert_int_equal(utimensat(AT_FDCWD, "replica/namesake", then, 0), 0);
	read_etag(replica, "namesake", second);
	assert_string_not_equal(first, second);
	assert_int_equal(utimensat(AT_FDCWD, "replica/object", other, 0), 0);
	read_etag(replica, "object", second);
	assert_string_not_equal(first, second);
	write_file("replica/object", "bytes and more");
	assert_int_equal(utimensat(AT_FDCWD, "replica/object", then, 0), 0);
	read_etag(replica, "object", second);
	assert_string_not_equal(first, second);
	file_source_free(replica);
	assert_int_equal(
		unlink("root/object") + unlink("replica/object") + unlink("replica/namesake") + rmdir("replica"), 0);
}

/* Archives and images make such files: the new one may have size and time of the old. */
static void file_replaced_within_its_time_has_a_weak_tag_and_then_another(void **state)
{
	const struct timespec whole[2] = {{1000000000, 0}, {1000000000, 0}};
	char first[FILE_ETAG_MAX], second[FILE_ETAG_MAX];
	struct file_object object;

	(void)state;
	write_file("root/object", "bytes");
	assert_int_equal(utimensat(AT_FDCWD, "root/object", whole, 0), 0);
	read_etag(source, "object", first);
	assert_memory_equal(first, "W/\"5-", 5);
	read_etag(source, "object", second);
	assert_string_equal(first, second);
	/* The kernel's clock of files may be coarse. */
	for (int i = 0; i < 1000 && strcmp(first, second) == 0; i++) {
		write_file("root/object", "other");
		assert_int_equal(utimensat(AT_FDCWD, "root/object", whole, 0), 0);
		read_etag(source, "object", second);
		(void)usleep(1000);
	}
	assert_string_not_equal(first, second);
	/* In the very tick of a write another one may follow. */
	assert_int_equal(file_source_open(source, "object", &object), FILE_OK);
	object.mtime.tv_nsec = 5;
	object.settled = false;
	file_object_etag(&object, first);
	assert_memory_equal(first, "W/\"5-", 5);
	file_object_close(&object);
	assert_int_equal(unlink("root/object"), 0);
}

static void file_of_this_clock_tick_is_not_settled(void **state)
{
	struct file_object object = {.fd = -1, .mtime = {.tv_sec = 1000, .tv_nsec = 990000000}};
	const struct timespec same = {1000, 995000000}, next_second = {1001, 1000000}, later = {1001, 15000000},
			      much_later = {1002, 0}, earlier = {999, 0}, far = {(time_t)1 << 60, 0};

	(void)state;
	assert_false(file_object_is_settled(&object, &same));
	assert_false(file_object_is_settled(&object, &next_second));
	assert_true(file_object_is_settled(&object, &later));
	assert_true(file_object_is_settled(&object, &much_later));
	assert_true(file_object_is_settled(&object, &earlier));
	assert_true(file_object_is_settled(&object, &far));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_leads_out_of_the_root_is_forbidden),
		cmocka_unit_test(loop_of_links_is_forbidden),
		cmocka_unit_test(fifo_and_socket_are_forbidden_without_waiting),
		cmocka_unit_test(device_inside_the_root_is_forbidden),
		cmocka_unit_test(magic_links_are_forbidden),
		cmocka_unit_test(what_is_not_there_is_not_found),
		cmocka_unit_test(folders_are_told_apart),
		cmocka_unit_test(root_must_be_a_folder),
		cmocka_unit_test(files_and_links_inside_are_opened),
		cmocka_unit_test(etag_is_that_of_every_copy_with_the_same_name_and_time),
		cmocka_unit_test(file_replaced_within_its_time_has_a_weak_tag_and_then_another),
		cmocka_unit_test(file_of_this_clock_tick_is_not_settled),
		cmocka_unit_test(change_in_place_shows_and_replacement_does_not),
	};

	return cmocka_run_group_tests(tests, make_tree, remove_tree);
}
