// SPDX-License-Identifier: Apache-2.0

// memberlist: hashicorp/memberlist with its LAN timers on loopback, for `tests/bench/run.sh memberlist`: how
// long a broadcast takes to all members, and how long until all know that one of them is silent.
// Prints one JSON object. One process holds all members, so times are of one clock.
package main

import (
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"sort"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

type change struct{ octets []byte }

func (c change) Invalidates(memberlist.Broadcast) bool { return false }
func (c change) Message() []byte                       { return c.octets }
func (c change) Finished()                             {}

type member struct {
	list  *memberlist.Memberlist
	queue memberlist.TransmitLimitedQueue
	mu    sync.Mutex
	seen  map[uint64]bool
	heard chan uint64
	left  chan string
}

func (m *member) NodeMeta(int) []byte { return nil }
func (m *member) NotifyMsg(b []byte) {
	if len(b) < 8 {
		return
	}
	n := binary.BigEndian.Uint64(b)
	m.mu.Lock()
	before := m.seen[n]
	m.seen[n] = true
	m.mu.Unlock()
	if !before { // and it is passed on, as Serf does
		m.queue.QueueBroadcast(change{append([]byte(nil), b...)})
		m.heard <- n
	}
}
func (m *member) GetBroadcasts(overhead, limit int) [][]byte {
	return m.queue.GetBroadcasts(overhead, limit)
}
func (m *member) LocalState(bool) []byte         { return nil }
func (m *member) MergeRemoteState([]byte, bool)  {}
func (m *member) NotifyJoin(*memberlist.Node)    {}
func (m *member) NotifyUpdate(*memberlist.Node)  {}
func (m *member) NotifyLeave(n *memberlist.Node) { m.left <- n.Name }

func die(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func begin(i, members int) *member {
	m := &member{seen: map[uint64]bool{}, heard: make(chan uint64, 1024), left: make(chan string, 1024)}
	c := memberlist.DefaultLANConfig()
	c.Name = fmt.Sprintf("m%d", i)
	c.BindAddr, c.BindPort, c.AdvertisePort = "127.0.0.1", 17000+i, 17000+i
	c.Delegate, c.Events, c.LogOutput = m, m, io.Discard
	m.queue = memberlist.TransmitLimitedQueue{NumNodes: func() int { return members }, RetransmitMult: c.RetransmitMult}
	var err error
	m.list, err = memberlist.Create(c)
	die(err)
	return m
}

func ms(d []float64, perMille int) float64 {
	sort.Float64s(d)
	return d[min(len(d)*perMille/1000, len(d)-1)]
}

func main() {
	members := flag.Int("members", 24, "members")
	rounds := flag.Int("rounds", 100, "broadcasts")
	deaths := flag.Int("deaths", 3, "members that fall silent, one after the other")
	flag.Parse()
	all := make([]*member, *members)
	for i := range all {
		all[i] = begin(i, *members)
		if i > 0 {
			_, err := all[i].list.Join([]string{"127.0.0.1:17000"})
			die(err)
		}
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		known := 0
		for _, m := range all {
			known += m.list.NumMembers()
		}
		if known == *members**members {
			break
		}
		if time.Now().After(end) {
			die(fmt.Errorf("members do not know each other"))
		}
	}
	var spread, silent []float64
	for r := 0; r < *rounds; r++ {
		on, body := all[r%*members], make([]byte, 300) // octets of a change
		binary.BigEndian.PutUint64(body, uint64(r+1))
		on.mu.Lock()
		on.seen[uint64(r+1)] = true
		on.mu.Unlock()
		start := time.Now()
		on.queue.QueueBroadcast(change{body})
		for _, m := range all {
			for m != on && <-m.heard != uint64(r+1) {
			}
		}
		spread = append(spread, float64(time.Since(start).Microseconds())/1000)
	}
	for d := 0; d < *deaths; d++ {
		last := all[len(all)-1]
		all = all[:len(all)-1]
		name := last.list.LocalNode().Name
		start := time.Now()
		die(last.list.Shutdown()) // without a word: its sockets are closed
		for _, m := range all {
			for <-m.left != name {
			}
		}
		silent = append(silent, float64(time.Since(start).Microseconds())/1000)
	}
	die(json.NewEncoder(os.Stdout).Encode(map[string]float64{"p50": ms(spread, 500), "p99": ms(spread, 990),
		"failed_p50": ms(silent, 500), "failed_max": ms(silent, 1000)}))
}
