/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Configuration of disc-backend, read and checked as a whole: what was checked is what is used. It is constant; when the file is read
 * again another one takes its place, and it stays until its last user is gone.
 * doc/man/disc-backend.conf.5 describes every field. */
#ifndef DISC_NODE_CONFIG_H
#define DISC_NODE_CONFIG_H

#define NODE_WORKERS_MAX 256

#include <stdbool.h>
#include <stddef.h>

#include "address.h"
#include "aead_choice.h"
#include "channel.h"
#include "content_type.h"
#include "direct_settings.h"
#include "fetch_server.h"
#include "file_source.h"
#include "http_source.h"
#include "ticket_table.h"

struct node_config {
	void *tree;                   /* private: what the texts below belong to */
	unsigned workers;             /* that serve fetches */
	double grace;                 /* seconds a drain may take */
	struct address *fetch_listen; /* fetch_listen_count of them */
	size_t fetch_listen_count;
	struct fetch_limits limits; /* of one worker */
	size_t max_connections;     /* of all workers */
	struct ticket_limits tickets;
	enum aead_setting seal;
	struct address control_listen;
	const char **agents; /* NULL-terminated */
	bool has_admin;
	struct address admin_listen;
	struct channel_tls *tls;
	bool has_origin;
	struct http_source_settings origin; /* of one worker, instead of files; its texts below */
	long origin_max_connections;        /* of all workers */
	char *origin_base;
	const char *root; /* of the files */
	struct file_source *files;
	bool digests;         /* entity tags are those of the files' content */
	uint64_t digest_rate; /* bytes a second that are read for them */
	struct content_types *types;
	const char **index; /* NULL-terminated */
	bool has_direct;
	struct direct_settings direct;
	struct fetch_content content; /* of files or an origin, as above; who holds it holds the configuration */
	_Atomic int others;           /* who uses it, beside its first user */
};

/* Reads <file> and checks it: every fault is written to stderr as "FILE:LINE: FIELD: message" (of a fault in the syntax
 * only the first). Loads the certificates and opens the root folder; opens no socket. Returns 0, or -1 if there was a
 * fault; <config> is then empty. */
int node_config_load(struct node_config *config, const char *file);

/* Sets up logging as the file says. */
void node_config_apply_log(const struct node_config *config, const char *program);

void node_config_release(struct node_config *config);

/* The same as node_config_load() in memory of its own. Returns it with one user, or NULL. */
struct node_config *node_config_new(const char *file);

/* One user more, and one less: the last one frees a configuration of node_config_new(). From any thread. */
void node_config_hold(struct node_config *config);
void node_config_drop(struct node_config *config);

/* Sets <content>, and who may still use it. */
void node_config_make_content(struct node_config *config);

/* Shares the limits of all among <workers>, which may be others than the configuration's. */
void node_config_share(struct node_config *config, unsigned workers);

#endif
