/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fetch_transfer.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define CHUNK_HEAD_MAX 19u /* 16 hexadecimal digits, CRLF, a terminating zero */
#define CHUNK_END "\r\n0\r\n\r\n"
#define NO_CHUNK "1\r\n." CHUNK_END
#define FRAME_MAX (CHUNK_HEAD_MAX + sizeof(NO_CHUNK)) /* bytes behind the head that an open body may take */

int fetch_transfer_init(struct fetch_transfer *transfer, const void *head, size_t len)
{
	*transfer = (struct fetch_transfer){.head_len = len, .plain = {.object = {.fd = -1}}};
	transfer->head = malloc(len + FRAME_MAX);
	if (!transfer->head)
		return -1;
	memcpy(transfer->head, head, len);
	return 0;
}

void fetch_transfer_set_plain(struct fetch_transfer *transfer, struct file_object *object, uint64_t offset,
			      uint64_t length)
{
	transfer->kind = FETCH_BODY_PLAIN;
	plain_body_init(&transfer->plain, object, offset, length);
}

void fetch_transfer_set_relayed(struct fetch_transfer *transfer, struct relayed_body *body)
{
	transfer->kind = FETCH_BODY_RELAYED;
	transfer->relayed = body;
}

void fetch_transfer_set_sealed(struct fetch_transfer *transfer, struct sealed_body *body)
{
	transfer->kind = FETCH_BODY_SEALED;
	transfer->sealed = body;
}

void fetch_transfer_set_granted(struct fetch_transfer *transfer, struct granted_body *body)
{
	transfer->kind = FETCH_BODY_GRANTED;
	transfer->granted = body;
}

static void append_to_head(struct fetch_transfer *transfer, const char *bytes, size_t len)
{
	memcpy(transfer->head + transfer->head_len, bytes, len);
	transfer->head_len += len;
}

void fetch_transfer_set_open(struct fetch_transfer *transfer)
{
	transfer->kind = FETCH_BODY_OPEN;
}

void fetch_transfer_close(struct fetch_transfer *transfer)
{
	assert(transfer->kind == FETCH_BODY_OPEN);
	transfer->kind = FETCH_BODY_NONE;
	append_to_head(transfer, NO_CHUNK, sizeof(NO_CHUNK) - 1);
}

void fetch_transfer_set_chunk(struct fetch_transfer *transfer, struct sealed_body *body)
{
	char head[CHUNK_HEAD_MAX];
	int len = snprintf(head, sizeof(head), "%" PRIx64 "\r\n", sealed_body_layout(body)->ciphertext);

	assert(transfer->kind == FETCH_BODY_OPEN && len > 0 && (size_t)len < sizeof(head));
	append_to_head(transfer, head, (size_t)len);
	transfer->chunk_open = true;
	fetch_transfer_set_sealed(transfer, body);
}

void fetch_transfer_release(struct fetch_transfer *transfer)
{
	free(transfer->head);
	transfer->head = NULL;
	plain_body_release(&transfer->plain);
	relayed_body_free(transfer->relayed);
	transfer->relayed = NULL;
	sealed_body_free(transfer->sealed);
	transfer->sealed = NULL;
	granted_body_free(transfer->granted);
	transfer->granted = NULL;
	transfer->kind = FETCH_BODY_NONE;
}

/* Sends what is left of the head together with <len> bytes of a body. Returns how many bytes of the body left in
 * <*sent>. */
static enum fetch_transfer_status send_bytes(struct fetch_transfer *transfer, int fd, const uint8_t *body, size_t len,
					     int flags, size_t *sent)
{
	struct iovec pieces[2] = {
		{transfer->head + transfer->head_sent, transfer->head_len - transfer->head_sent},
		{(uint8_t *)(uintptr_t)body, len},
	};
	struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 2};
	size_t head_left = pieces[0].iov_len, done;
	ssize_t n;

	*sent = 0;
	do {
		n = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT | flags);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? FETCH_TRANSFER_BLOCKED : FETCH_TRANSFER_PEER_GONE;
	done = (size_t)n;
	if (done < head_left) {
		transfer->head_sent += done;
		return FETCH_TRANSFER_BLOCKED;
	}
	transfer->head_sent = transfer->head_len;
	*sent = done - head_left;
	transfer->sent += *sent;
	return *sent < len ? FETCH_TRANSFER_BLOCKED : FETCH_TRANSFER_DONE;
}

/* What is left of the head leaves alone: its body is not there yet, or there is none. */
static enum fetch_transfer_status send_head(struct fetch_transfer *transfer, int fd, int flags)
{
	size_t sent;

	if (transfer->head_sent == transfer->head_len)
		return FETCH_TRANSFER_DONE;
	return send_bytes(transfer, fd, NULL, 0, flags, &sent);
}

static enum fetch_transfer_status starved(struct fetch_transfer *transfer, int fd)
{
	enum fetch_transfer_status status = send_head(transfer, fd, 0);

	return status == FETCH_TRANSFER_DONE ? FETCH_TRANSFER_STARVED : status;
}

/* All of the sealed body was sent: what is left is the end of its chunk, if it is one. */
static enum fetch_transfer_status end_sealed(struct fetch_transfer *transfer, int fd)
{
	if (transfer->chunk_open)
		append_to_head(transfer, CHUNK_END, sizeof(CHUNK_END) - 1);
	transfer->chunk_open = false;
	return send_head(transfer, fd, 0);
}

static enum fetch_transfer_status send_sealed(struct fetch_transfer *transfer, int fd, size_t budget, const char **why)
{
	for (;;) {
		enum fetch_transfer_status status;
		const uint8_t *block;
		size_t len, sent;

		switch (sealed_body_next(transfer->sealed, &block, &len)) {
		case SEALED_BODY_BLOCK:
			break;
		case SEALED_BODY_WAITING:
			return starved(transfer, fd);
		case SEALED_BODY_END:
			return end_sealed(transfer, fd);
		case SEALED_BODY_CHANGED:
		case SEALED_BODY_READ_FAILED:
			*why = sealed_body_fault(transfer->sealed);
			return FETCH_TRANSFER_BROKEN;
		case SEALED_BODY_SEAL_FAILED:
			*why = "a record could not be sealed";
			return FETCH_TRANSFER_BROKEN;
		}
		status = send_bytes(transfer, fd, block, len, 0, &sent);
		sealed_body_sent(transfer->sealed, sent);
		if (status != FETCH_TRANSFER_DONE)
			return status;
		/* Returns the end at once, not at the next turn: the client waits for nothing more. */
		if (sent >= budget &&
		    sealed_body_records(transfer->sealed) < sealed_body_layout(transfer->sealed)->records)
			return FETCH_TRANSFER_YIELDED;
		budget = sent < budget ? budget - sent : 0;
	}
}

static enum fetch_transfer_status send_granted(struct fetch_transfer *transfer, int fd, size_t budget, const char **why)
{
	for (;;) {
		enum fetch_transfer_status status;
		const uint8_t *block;
		size_t len, sent;

		switch (granted_body_next(transfer->granted, &block, &len)) {
		case GRANTED_BODY_BLOCK:
			break;
		case GRANTED_BODY_WAITING:
			return starved(transfer, fd);
		case GRANTED_BODY_END:
			return send_head(transfer, fd, 0);
		case GRANTED_BODY_CHANGED:
		case GRANTED_BODY_READ_FAILED:
			*why = granted_body_fault(transfer->granted);
			return FETCH_TRANSFER_BROKEN;
		case GRANTED_BODY_SEAL_FAILED:
			*why = "a record could not be sealed";
			return FETCH_TRANSFER_BROKEN;
		}
		status = send_bytes(transfer, fd, block, len, 0, &sent);
		granted_body_sent(transfer->granted, sent);
		if (status != FETCH_TRANSFER_DONE)
			return status;
		if (sent >= budget)
			return FETCH_TRANSFER_YIELDED;
		budget -= sent;
	}
}

static enum fetch_transfer_status send_relayed(struct fetch_transfer *transfer, int fd, size_t budget, const char **why)
{
	for (;;) {
		enum fetch_transfer_status status;
		const uint8_t *block;
		size_t len, sent;

		switch (relayed_body_next(transfer->relayed, &block, &len)) {
		case RELAYED_BODY_BLOCK:
			break;
		case RELAYED_BODY_WAITING:
			return starved(transfer, fd);
		case RELAYED_BODY_END:
			return send_head(transfer, fd, 0);
		case RELAYED_BODY_FAILED:
			*why = relayed_body_fault(transfer->relayed);
			return FETCH_TRANSFER_BROKEN;
		}
		status = send_bytes(transfer, fd, block, len, 0, &sent);
		relayed_body_sent(transfer->relayed, sent);
		if (status != FETCH_TRANSFER_DONE)
			return status;
		if (sent >= budget)
			return FETCH_TRANSFER_YIELDED;
		budget -= sent;
	}
}

static enum fetch_transfer_status send_plain(struct fetch_transfer *transfer, int fd, size_t budget, const char **why)
{
	enum fetch_transfer_status status;
	size_t sent;

	status = send_head(transfer, fd, MSG_MORE);
	if (status != FETCH_TRANSFER_DONE)
		return status;
	for (;;) {
		enum plain_body_status body = plain_body_send(&transfer->plain, fd, budget, &sent);

		transfer->sent += sent;
		switch (body) {
		case PLAIN_BODY_END:
			return FETCH_TRANSFER_DONE;
		case PLAIN_BODY_BLOCKED:
			return FETCH_TRANSFER_BLOCKED;
		case PLAIN_BODY_TRUNCATED:
			*why = "the file was truncated during the transfer";
			return FETCH_TRANSFER_BROKEN;
		case PLAIN_BODY_FAILED:
			if (errno == EPIPE || errno == ECONNRESET || errno == ETIMEDOUT)
				return FETCH_TRANSFER_PEER_GONE;
			*why = "the file could not be sent";
			return FETCH_TRANSFER_BROKEN;
		case PLAIN_BODY_SENT:
			break;
		}
		if (sent >= budget)
			return FETCH_TRANSFER_YIELDED;
		budget -= sent;
	}
}

enum fetch_transfer_status fetch_transfer_send(struct fetch_transfer *transfer, int fd, size_t budget, const char **why)
{
	switch (transfer->kind) {
	case FETCH_BODY_SEALED:
		return send_sealed(transfer, fd, budget, why);
	case FETCH_BODY_GRANTED:
		return send_granted(transfer, fd, budget, why);
	case FETCH_BODY_RELAYED:
		return send_relayed(transfer, fd, budget, why);
	case FETCH_BODY_PLAIN:
		return send_plain(transfer, fd, budget, why);
	case FETCH_BODY_OPEN:
		return starved(transfer, fd);
	case FETCH_BODY_NONE:
		break;
	}
	return send_head(transfer, fd, 0);
}
