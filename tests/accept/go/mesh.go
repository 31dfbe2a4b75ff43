// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"sort"
	"strings"

	"github.com/hashicorp/consul/api"
)

// The same client at one agent of a mesh: own is its node, others are alive, and service "near" has an
// instance on each of them.
func mesh(c *api.Client, own string, others []string) {
	all := append([]string{own}, others...)
	sort.Strings(all)
	members, err := c.Agent().Members(false)
	must("agent.Members", err)
	names, addresses := []string{}, []string{}
	for _, m := range members {
		if m.Status == 1 {
			names = append(names, m.Name)
			addresses = append(addresses, fmt.Sprintf("%s:%d", m.Addr, m.Port))
			check(m.Name+" is a server", api.MemberTagValueRoleServer, m.Tags[api.MemberTagKeyRole])
		}
	}
	sort.Strings(names)
	sort.Strings(addresses)
	check("its members", all, names)
	peers, err := c.Status().Peers()
	must("status.Peers", err)
	check("their addresses", addresses, peers)
	leader, err := c.Status().Leader()
	must("status.Leader", err)
	check("the leader is one of them", true, strings.Contains(strings.Join(peers, " "), leader))
	for _, near := range append(all, "_agent") {
		want := near
		if near == "_agent" {
			want = own
		}
		entries, meta, err := c.Health().Service("near", "", true, &api.QueryOptions{Near: near})
		must("health.Service near "+near, err)
		check("its first", want, entries[0].Node.Node)
		check("a leader is known", true, meta.KnownLeader)
		services, _, err := c.Catalog().Service("near", "", &api.QueryOptions{Near: near})
		must("catalog.Service near "+near, err)
		check("its first", want, services[0].Node)
		nodes, _, err := c.Catalog().Nodes(&api.QueryOptions{Near: near})
		must("catalog.Nodes near "+near, err)
		check("its first", want, nodes[0].Node)
	}
	coordinates, meta, err := c.Coordinate().Nodes(nil)
	must("coordinate.Nodes", err)
	check("each has one", len(all), len(coordinates))
	check("an index", true, meta.LastIndex > 0)
	one, _, err := c.Coordinate().Node(others[0], nil)
	must("coordinate.Node", err)
	check("its dimensions", 8, len(one[0].Coord.Vec))
	far, err := c.Coordinate().Datacenters()
	must("coordinate.Datacenters", err)
	check("of one datacenter", 1, len(far))
	check("with each", len(all), len(far[0].Coordinates))
	for _, q := range []*api.QueryOptions{{AllowStale: true}, {RequireConsistent: true}, nil} {
		entries, _, err := c.Health().Service("near", "", true, q)
		must("health.Service by its consistency", err)
		check("its instances", true, len(entries) >= len(all))
	}
	checks, _, err := c.Health().Node(others[0], nil)
	must("health.Node", err)
	check("it is alive", api.HealthPassing, checks.AggregatedStatus())
	check("an agent that is none cannot be made to leave", true, c.Agent().ForceLeave("nobody") != nil)
	check("nor joined", true, c.Agent().Join("127.0.0.9", false) != nil)
}
