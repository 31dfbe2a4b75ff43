// SPDX-License-Identifier: Apache-2.0

// resolve.go - Go's own resolver, or the C library's where GODEBUG says netdns=cgo, until the file is
// there: resolve NAME STOP. Prints "begun", and "<look-ups> <failures>".
// resolve all NAME TYPE prints what A, AAAA or SRV has, one a line.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"
)

func all(name, kind string) error {
	if kind == "SRV" {
		_, list, err := net.DefaultResolver.LookupSRV(context.Background(), "", "", name)
		for _, r := range list {
			fmt.Println(r.Priority, r.Weight, r.Port, r.Target)
		}
		return err
	}
	network := map[string]string{"A": "ip4", "AAAA": "ip6"}[kind]
	list, err := net.DefaultResolver.LookupNetIP(context.Background(), network, name)
	for _, a := range list {
		fmt.Println(a.Unmap())
	}
	return err
}

func main() {
	if os.Args[1] == "all" {
		if all(os.Args[2], os.Args[3]) != nil {
			os.Exit(1)
		}
		return
	}
	name, stop := os.Args[1], os.Args[2]
	ops, failures := 0, 0
	for {
		if _, err := os.Stat(stop); err == nil {
			break
		}
		a, err := net.DefaultResolver.LookupIPAddr(context.Background(), name)
		if err != nil || len(a) == 0 {
			fmt.Fprintln(os.Stderr, ops, err)
			failures++
		}
		if ops == 0 {
			fmt.Println("begun")
		}
		ops++
		time.Sleep(5 * time.Millisecond)
	}
	fmt.Println(ops, failures)
}
