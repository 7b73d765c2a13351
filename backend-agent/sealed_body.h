/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sealed body: bytes of one pinned file as TLS records of the client's session, produced block by block.
 *
 * A block is made only when the one before it has left for the kernel, so an offload holds one block and the kernel's
 * send buffer, however slow its client. The file is compared with what was pinned after its bytes were read and before
 * their records are handed out: if it changed, no record of that block leaves, and the body is broken for good.
 */
#ifndef DISC_SEALED_BODY_H
#define DISC_SEALED_BODY_H

#include <stdint.h>

#include "file_source.h"
#include "record.h"
#include "tx_state.h"

#define SEALED_BODY_BLOCK_RECORDS 16u
#define SEALED_BODY_BLOCK_MAX (SEALED_BODY_BLOCK_RECORDS * RECORD_SEALED_MAX)

struct sealed_body;

enum sealed_body_status {
	SEALED_BODY_BLOCK,       /* there is a block to send */
	SEALED_BODY_END,         /* all of it was handed out */
	SEALED_BODY_CHANGED,     /* the file is not what it was: the transfer must break here */
	SEALED_BODY_READ_FAILED, /* I/O error */
	SEALED_BODY_SEAL_FAILED, /* the sealer refused */
};

/* Creates in <*body> the body of <length> bytes from <offset> of <object>, under <state>. With RECORD_OK it owns the
 * file (object->fd is -1 then) and a copy of <state> in secret memory. Otherwise returns the fault of
 * record_layout_init() or record_sealer_new(), with <*body> NULL and <object> untouched: nothing was and nothing will
 * be sealed. */
enum record_error sealed_body_new(struct sealed_body **body, struct file_object *object, uint64_t offset,
				  uint64_t length, const struct tx_state *state);

/* Wipes and frees <body>, which may be NULL. */
void sealed_body_free(struct sealed_body *body);

const struct record_layout *sealed_body_layout(const struct sealed_body *body);

/* Gives what is to be sent next: with SEALED_BODY_BLOCK, <*len> bytes at <*bytes>, which belong to <body> until
 * sealed_body_sent(). Reads and seals when the block before was sent whole. A body that failed answers the same ever
 * after. */
enum sealed_body_status sealed_body_next(struct sealed_body *body, const uint8_t **bytes, size_t *len);

/* <len> bytes of the block left for the kernel. */
void sealed_body_sent(struct sealed_body *body, size_t len);

/* Records sealed so far, and the plaintext they carry in bytes. */
uint64_t sealed_body_records(const struct sealed_body *body);
uint64_t sealed_body_bytes(const struct sealed_body *body);

#endif
