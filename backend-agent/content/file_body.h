/* SPDX-License-Identifier: GPL-2.0-or-later */
/* File body: bytes of one pinned file as a body source. The file is compared with what was pinned after each read and
 * before its bytes are given out. */
#ifndef DISC_FILE_BODY_H
#define DISC_FILE_BODY_H

#include "body_source.h"
#include "file_source.h"

/* Returns the source of <length> bytes from <offset> of <object>, which it then owns (object->fd is -1), or NULL when
 * memory is exhausted; <object> is untouched then. */
struct body_source *file_body_new(struct file_object *object, uint64_t offset, uint64_t length);

#endif
