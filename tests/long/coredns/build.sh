#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# CoreDNS with the plugins of main.go into build/coredns/.
here=$(dirname "$0")
exec "$here/../go_module.sh" coredns "$here/main.go" github.com/coredns/coredns 1.15.0 1.25.0
