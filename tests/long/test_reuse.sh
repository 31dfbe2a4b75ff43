#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test_reuse.sh - as in tests/bpf, for longer: ten million questions and as many connections beside services
# that come, change their size and go without a pause.
cd "$(dirname "$0")/../.." || exit 1
WM_REUSE_MILLION=10 exec setarch -R "${B:-build/asan}/tests/bpf/test_reuse"
