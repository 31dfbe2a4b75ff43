#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The same questions to us and to NSD, Knot, BIND and Unbound, which serve zones made of the same registry: each
# field of the answers is the same, or different for a reason that tests/net/respdiff.py has in its table.
# RESPDIFF_QUESTIONS (2000), RESPDIFF_SEED (1).
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/authorities.sh
. tests/net/authorities.sh
start_agent --set dns.ttl=60s --set dns.node_ttl=60s --set dns.negative_ttl=30s
tests/net/respdiff.py register $API || fail "register"
mkdir "$TMP/zones"
tests/net/respdiff.py zones $API "$TMP/zones" || fail "zones"
check "zones" "mesh.internal" "$(cd "$TMP/zones" && ls -d mesh*)"
echo "seed ${RESPDIFF_SEED:-1}"
authorities
tests/net/respdiff.py compare "$TMP/zones" "${RESPDIFF_QUESTIONS:-2000}" "${RESPDIFF_SEED:-1}" 8600 \
	nsd=5301 knot=5302 bind=5303 unbound=5304 || fail "a difference that nothing explains"
done_testing
