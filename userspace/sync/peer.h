/* SPDX-License-Identifier: Apache-2.0 */
/* peer.h - what names another agent: its node's id, and where it is spoken to. Values, no memory.
 */
#pragma once
#include "userspace/base/peer_addr.h"
#include "userspace/base/peer_id.h"
