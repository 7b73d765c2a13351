/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "late_release.h"

#define DUE_S 0.005 /* less than the least retransmission timeout by far */

static void on_due(struct ev_loop *loop, ev_timer *timer, int events)
{
	struct late_release *late = timer->data;

	(void)loop;
	(void)events;
	for (size_t i = 0; i < NODE_MAX; i++)
		late_release_flush(late, i);
}

void late_release_open(struct late_release *late)
{
	ev_timer_init(&late->due, on_due, DUE_S, 0.);
	late->due.data = late;
}

void late_release_close(struct late_release *late)
{
	if (late->loop)
		ev_timer_stop(late->loop, &late->due);
}

void late_release_add(struct late_release *late, size_t node, const struct ticket *ticket)
{
	struct late_release_list *list = &late->nodes[node];

	if (list->count == LATE_RELEASE_MAX)
		late_release_flush(late, node);
	list->tickets[list->count++] = *ticket;
	if (ev_is_active(&late->due))
		return;
	ev_timer_set(&late->due, DUE_S, 0.);
	ev_timer_start(late->loop, &late->due);
}

void late_release_flush(struct late_release *late, size_t node)
{
	struct late_release_list *list = &late->nodes[node];
	unsigned count = list->count;

	list->count = 0;
	for (unsigned i = 0; i < count; i++)
		late->send(late->context, node, &list->tickets[i]);
}

void late_release_forget(struct late_release *late, size_t node)
{
	late->nodes[node].count = 0;
}
