#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What writes containerd's profiles, main.go, into build/containerd-profiles/.
here=$(dirname "$0")
exec "$here/../../long/go_module.sh" containerd-profiles "$here/main.go" github.com/containerd/containerd 1.7.29 1.23.0
