#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Real clients, unmodified, against the agent's API.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

start_agent
/usr/bin/python3 tests/net/consul_client.py || fail "python3-consul"
done_testing
