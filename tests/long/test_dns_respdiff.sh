#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# As in tests/net, with 20,000 other questions.
cd "$(dirname "$0")/../.." || exit 1
RESPDIFF_QUESTIONS=20000 RESPDIFF_SEED=${RESPDIFF_SEED:-$RANDOM} exec bash tests/net/test_dns_respdiff.sh
