/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Channel number: names a control channel to all threads of the node, is never used again, and says which loop holds the channel: that
 * of its lane's worker, or with lane 0 the control loop. */
#ifndef DISC_CHANNEL_NUMBER_H
#define DISC_CHANNEL_NUMBER_H

#include <stdint.h>

#define CHANNEL_NUMBER_LANES 512u /* more than CONTROL_LANES_MAX */

/* Of the <count>-th channel of <lane>'s loop. */
static inline uint64_t channel_number(uint64_t count, unsigned lane)
{
	return count * CHANNEL_NUMBER_LANES + lane;
}

static inline unsigned channel_number_lane(uint64_t number)
{
	return (unsigned)(number % CHANNEL_NUMBER_LANES);
}

#endif
