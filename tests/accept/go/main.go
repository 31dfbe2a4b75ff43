// SPDX-License-Identifier: Apache-2.0

// Consul's own Go client, unmodified, against the agent: what it reads must be what it registered. Prints
// a line for each finding and ends with status 1 when one is not as expected.
package main

import (
	"fmt"
	"os"
	"reflect"
	"sort"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/consul/api/watch"
)

var failed bool

func check(what string, want, have any) {
	if reflect.DeepEqual(want, have) {
		fmt.Println("ok:", what)
		return
	}
	fmt.Printf("FAILED: %s: expected %#v, saw %#v\n", what, want, have)
	failed = true
}

func must(what string, err error) {
	if err != nil {
		fmt.Printf("FAILED: %s: %v\n", what, err)
		failed = true
		return
	}
	fmt.Println("ok:", what)
}

func ids(entries []*api.ServiceEntry) []string {
	all := []string{}
	for _, e := range entries {
		all = append(all, e.Service.ID)
	}
	sort.Strings(all)
	return all
}

func register(a *api.Agent) {
	for i, id := range []string{"go-1", "go-2"} {
		must("register "+id, a.ServiceRegister(&api.AgentServiceRegistration{
			ID: id, Name: "go", Address: fmt.Sprintf("10.7.0.%d", i+1), Port: 7401 + i,
			Tags: []string{"blue", "v7"}, Meta: map[string]string{"version": fmt.Sprint(i + 1)},
			Weights: &api.AgentWeights{Passing: 3, Warning: 1},
			Check:   &api.AgentServiceCheck{CheckID: "ttl:" + id, TTL: "1h", Status: "passing"},
		}))
	}
}

func reads(c *api.Client) {
	name, err := c.Agent().NodeName()
	must("agent.NodeName", err)
	entries, meta, err := c.Health().Service("go", "blue", true, nil)
	must("health.Service", err)
	check("its instances", []string{"go-1", "go-2"}, ids(entries))
	check("its node", name, entries[0].Node.Node)
	check("its weights", api.AgentWeights{Passing: 3, Warning: 1}, entries[0].Service.Weights)
	check("the leader is known", true, meta.KnownLeader)
	check("an index", true, meta.LastIndex > 0)
	entries, _, err = c.Health().Service("go", "", false, &api.QueryOptions{Filter: `Service.Meta.version == "2"`})
	must("health.Service with a filter", err)
	check("the filter's instances", []string{"go-2"}, ids(entries))
	services, _, err := c.Catalog().Services(nil)
	must("catalog.Services", err)
	check("its tags", []string{"blue", "v7"}, services["go"])
	all, _, err := c.Catalog().Service("go", "", nil)
	must("catalog.Service", err)
	check("its ports", 7401+7402, all[0].ServicePort+all[1].ServicePort)
	node, _, err := c.Catalog().Node(name, nil)
	must("catalog.Node", err)
	check("its service", "go", node.Services["go-1"].Service)
	local, err := c.Agent().ServicesWithFilter(`"blue" in Tags`)
	must("agent.ServicesWithFilter", err)
	check("its count", 2, len(local))
	leader, err := c.Status().Leader()
	must("status.Leader", err)
	check("a leader", true, leader != "")
	datacenters, err := c.Catalog().Datacenters()
	must("catalog.Datacenters", err)
	check("one datacenter", 1, len(datacenters))
}

func checks(c *api.Client) {
	a := c.Agent()
	must("UpdateTTL", a.UpdateTTL("ttl:go-1", "busy", "warn"))
	status, info, err := a.AgentHealthServiceByID("go-1")
	must("AgentHealthServiceByID", err)
	check("its status", "warning", status)
	check("its service", "go-1", info.Service.ID)
	must("CheckRegister", a.CheckRegister(&api.AgentCheckRegistration{
		ID: "extra", Name: "extra", ServiceID: "go-2", AgentServiceCheck: api.AgentServiceCheck{TTL: "1h"}}))
	entries, _, err := c.Health().Service("go", "", true, nil)
	must("health.Service", err)
	check("nothing passes", []string{}, ids(entries))
	must("PassTTL", a.PassTTL("extra", ""))
	entries, _, err = c.Health().Service("go", "", true, nil)
	must("health.Service", err)
	check("one passes", []string{"go-2"}, ids(entries))
	must("CheckDeregister", a.CheckDeregister("extra"))
	list, _, err := c.Health().Checks("go", nil)
	must("health.Checks", err)
	check("two checks are left", 2, len(list))
	must("EnableServiceMaintenance", a.EnableServiceMaintenance("go-2", "a reason"))
	list, _, err = c.Health().Checks("go", nil)
	must("health.Checks", err)
	check("the state of the checks", "maintenance", list.AggregatedStatus())
	must("DisableServiceMaintenance", a.DisableServiceMaintenance("go-2"))
	must("EnableNodeMaintenance", a.EnableNodeMaintenance("a reason"))
	entries, _, err = c.Health().Service("go", "", true, nil)
	must("health.Service", err)
	check("nothing passes on a node in maintenance", []string{}, ids(entries))
	must("DisableNodeMaintenance", a.DisableNodeMaintenance())
}

func catalog(c *api.Client) {
	_, err := c.Catalog().Register(&api.CatalogRegistration{Node: "slate", Address: "10.8.7.1",
		NodeMeta: map[string]string{"zone": "z1"},
		Service:  &api.AgentService{ID: "tin-1", Service: "tin", Port: 81},
		Checks: api.HealthChecks{{Node: "slate", CheckID: "up", Name: "up", ServiceID: "tin-1",
			Status: "passing", Definition: api.HealthCheckDefinition{TCP: "10.8.7.1:81", IntervalDuration: time.Minute}}},
	}, nil)
	must("catalog.Register", err)
	entries, _, err := c.Health().Service("tin", "", true, nil)
	must("health.Service", err)
	check("the node of the catalog", "slate", entries[0].Node.Node)
	check("its check's definition", "10.8.7.1:81", entries[0].Checks[0].Definition.TCP)
	nodes, _, err := c.Catalog().Nodes(&api.QueryOptions{NodeMeta: map[string]string{"zone": "z1"}})
	must("catalog.Nodes", err)
	check("nodes of the zone", 1, len(nodes))
	ok, answer, _, err := c.Txn().Txn(api.TxnOps{
		{Service: &api.ServiceTxnOp{Verb: api.ServiceGet, Node: "slate", Service: api.AgentService{ID: "tin-1"}}},
		{Check: &api.CheckTxnOp{Verb: api.CheckSet, Check: *entries[0].Checks[0]}},
	}, nil)
	must("txn.Txn", err)
	check("it was applied", true, ok)
	check("its results", 2, len(answer.Results))
	ok, answer, _, err = c.Txn().Txn(api.TxnOps{
		{Service: &api.ServiceTxnOp{Verb: api.ServiceCAS, Node: "slate",
			Service: api.AgentService{ID: "tin-1", Service: "tin", Port: 82, ModifyIndex: 1}}},
	}, nil)
	must("txn.Txn with a stale index", err)
	check("it was not applied", false, ok)
	check("where it failed", 1, len(answer.Errors))
	_, err = c.Catalog().Deregister(&api.CatalogDeregistration{Node: "slate"}, nil)
	must("catalog.Deregister", err)
	node, _, err := c.Catalog().Node("slate", nil)
	must("catalog.Node", err)
	check("the node is gone", true, node == nil)
}

func watches(c *api.Client) {
	_, meta, err := c.Health().Service("go", "", false, nil)
	must("health.Service", err)
	seen := make(chan int, 16)
	plan, err := watch.Parse(map[string]any{"type": "service", "service": "go"})
	must("watch.Parse", err)
	plan.Handler = func(_ uint64, result any) { seen <- len(result.([]*api.ServiceEntry)) }
	go func() { _ = plan.RunWithClientAndHclog(c, nil) }()
	check("the watch's first answer", 2, <-seen)
	must("deregister", c.Agent().ServiceDeregister("go-2"))
	entries, next, err := c.Health().Service("go", "", false,
		&api.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: time.Minute})
	must("a blocking query", err)
	check("what it saw", []string{"go-1"}, ids(entries))
	check("its index grew", true, next.LastIndex > meta.LastIndex)
	check("the watch's second answer", 1, <-seen)
	plan.Stop()
	_, _, err = c.Agent().Service("go-2", nil)
	check("an unknown id is an error", true, err != nil)
	check("an unknown id cannot be deregistered", true, c.Agent().ServiceDeregister("go-2") != nil)
	must("deregister", c.Agent().ServiceDeregister("go-1"))
}

func main() {
	c, err := api.NewClient(&api.Config{Address: "127.0.0.1:8500"})
	must("a client", err)
	if len(os.Args) > 2 { // a node of a mesh, and others
		mesh(c, os.Args[1], os.Args[2:])
	} else {
		register(c.Agent())
		reads(c)
		checks(c)
		catalog(c)
		watches(c)
	}
	if failed {
		os.Exit(1)
	}
}
