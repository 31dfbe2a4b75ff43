// SPDX-License-Identifier: Apache-2.0

// Reads an OCI runtime's configuration and writes it as containerd makes it by default: its seccomp profile for the
// capabilities that are given, and an AppArmor profile by name. The text of that goes into a file: main NAME FILE.
package main

import (
	"encoding/json"
	"log"
	"os"

	"github.com/containerd/containerd/contrib/apparmor"
	"github.com/containerd/containerd/contrib/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	var spec specs.Spec
	must(json.NewDecoder(os.Stdin).Decode(&spec))
	profile, err := apparmor.DumpDefaultProfile(os.Args[1])
	must(err)
	must(os.WriteFile(os.Args[2], []byte(profile), 0o644))
	spec.Process.ApparmorProfile = os.Args[1]
	spec.Linux.Seccomp = seccomp.DefaultProfile(&spec)
	must(json.NewEncoder(os.Stdout).Encode(&spec))
}
