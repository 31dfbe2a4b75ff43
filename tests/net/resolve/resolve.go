// SPDX-License-Identifier: Apache-2.0

// resolve.go - Go's own resolver, until the file is there: resolve NAME STOP.
// Prints "begun", and "<look-ups> <failures>".
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"
)

func main() {
	name, stop := os.Args[1], os.Args[2]
	r := &net.Resolver{PreferGo: true}
	ops, failures := 0, 0
	for {
		if _, err := os.Stat(stop); err == nil {
			break
		}
		a, err := r.LookupIPAddr(context.Background(), name)
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
