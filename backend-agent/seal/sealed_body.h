/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sealed body: a body source's bytes as TLS records of the client's session, produced block by block.
 *
 * A block is made only when the one before it has left for the kernel, in memory that all bodies of a thread share. What a
 * socket does not take of it the body keeps, and makes smaller blocks from then on: an offload holds a few records and the
 * kernel's send buffer, however slow its client. A block has as many records as the source has bytes ready for, whole ones
 * only. When the source finds that its object changed, no record of that block leaves, and the body is broken for good. A
 * body belongs to one thread.
 */
#ifndef DISC_SEALED_BODY_H
#define DISC_SEALED_BODY_H

#include <stdbool.h>
#include <stdint.h>

#include "body_source.h"
#include "metrics.h"
#include "record.h"
#include "tx_state.h"
#include "workshop.h"

#define SEALED_BODY_BLOCK_RECORDS WORKSHOP_RECORDS
#define SEALED_BODY_BLOCK_MAX (SEALED_BODY_BLOCK_RECORDS * RECORD_SEALED_MAX)

struct sealed_body;

enum sealed_body_status {
	SEALED_BODY_BLOCK,       /* there is a block to send */
	SEALED_BODY_WAITING,     /* the source has no whole record now */
	SEALED_BODY_END,         /* all of it was handed out */
	SEALED_BODY_CHANGED,     /* the object is not what it was: the transfer must break here */
	SEALED_BODY_READ_FAILED, /* the source cannot give all of it, or gives less than <length> */
	SEALED_BODY_SEAL_FAILED, /* the sealer refused */
};

/* Creates in <*body> the body of <length> bytes from <source>, under <state>. With RECORD_OK it owns <source> and a
 * copy of <state> in secret memory. Otherwise returns the fault of record_layout_init() or record_sealer_new(), with
 * <*body> NULL and <source> still the caller's: nothing was and nothing will be sealed. */
enum record_error sealed_body_new(struct sealed_body **body, struct body_source *source, uint64_t length,
				  const struct tx_state *state);

/* Wipes and frees <body>, which may be NULL. */
void sealed_body_free(struct sealed_body *body);

/* Lets <body> be sealed from its source's own memory, if it has any, instead of a copy. For a body that nobody will seal a
 * second time under the same keys: should the object change in the very moment of sealing, a block of another plaintext has
 * been sealed here, although no byte of it leaves. */
void sealed_body_allow_view(struct sealed_body *body);

/* To be called before the first block is asked for: the socket is likely to take about <bytes> at once, so that this one
 * has as many, within the bounds of a block. */
void sealed_body_expect(struct sealed_body *body, size_t bytes);

/* Counts in <histogram>, when the kernel takes the first bytes of the body, how long that is after <since>, a time of
 * metric_clock(). */
void sealed_body_time_first(struct sealed_body *body, struct metric *histogram, double since);

const struct record_layout *sealed_body_layout(const struct sealed_body *body);

/* Gives what is to be sent next: with SEALED_BODY_BLOCK, <*len> bytes at <*bytes>, valid until sealed_body_sent() or until
 * another body of this thread gives a block. Reads and seals when the block before was sent whole. A body that failed always answers the
 * same. */
enum sealed_body_status sealed_body_next(struct sealed_body *body, const uint8_t **bytes, size_t *len);

/* Why a body failed with SEALED_BODY_CHANGED or _READ_FAILED: a static text. */
const char *sealed_body_fault(const struct sealed_body *body);

/* Whether a body failed with SEALED_BODY_CHANGED. */
bool sealed_body_has_changed(const struct sealed_body *body);

/* <len> bytes of the block left for the kernel; if that is not all of it, the socket takes no more now. */
void sealed_body_sent(struct sealed_body *body, size_t len);

/* Records sealed so far, and the plaintext they carry in bytes. */
uint64_t sealed_body_records(const struct sealed_body *body);
uint64_t sealed_body_bytes(const struct sealed_body *body);

#endif
