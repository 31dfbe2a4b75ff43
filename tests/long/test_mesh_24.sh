#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test_mesh_24.sh - as in tests/net, with 24 agents: all are restarted one by one, and no client sees it.
export ROLLING=24
# shellcheck source=tests/net/test_mesh_rolling.sh
source "$(dirname "$0")/../net/test_mesh_rolling.sh"
