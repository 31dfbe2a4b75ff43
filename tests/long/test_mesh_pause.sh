#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test_mesh_pause.sh - as in tests/net, for longer: an agent stands still for a minute, and has 5 % of a
# processor for a minute.
export PAUSES="10 60" QUOTA_S=60
# shellcheck source=tests/net/test_mesh_pause.sh
source "$(dirname "$0")/../net/test_mesh_pause.sh"
