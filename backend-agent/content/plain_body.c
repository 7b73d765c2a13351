/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "plain_body.h"

#include <errno.h>
#include <sys/sendfile.h>

void plain_body_init(struct plain_body *body, struct file_object *object, uint64_t offset, uint64_t length)
{
	*body = (struct plain_body){.object = *object, .offset = offset, .left = length};
	object->fd = -1;
}

void plain_body_release(struct plain_body *body)
{
	file_object_close(&body->object);
}

enum plain_body_status plain_body_send(struct plain_body *body, int fd, size_t max, size_t *sent)
{
	off_t offset = (off_t)body->offset;
	ssize_t n;

	*sent = 0;
	if (!body->left)
		return PLAIN_BODY_END;
	do {
		n = sendfile(fd, body->object.fd, &offset, body->left < max ? (size_t)body->left : max);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? PLAIN_BODY_BLOCKED : PLAIN_BODY_FAILED;
	if (n == 0)
		return PLAIN_BODY_TRUNCATED;
	*sent = (size_t)n;
	body->offset += (uint64_t)n;
	body->left -= (uint64_t)n;
	return !body->left ? PLAIN_BODY_END : PLAIN_BODY_SENT;
}
