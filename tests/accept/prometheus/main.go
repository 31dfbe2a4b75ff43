// SPDX-License-Identifier: Apache-2.0

// Prometheus' own discovery by consul_sd_configs, unmodified, against the agent: its targets and their
// labels must follow what is registered. Prints a line for each finding and ends with status 1 when one is
// not as expected. Debian's Prometheus is built without it.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"sort"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/consul"
	"github.com/prometheus/prometheus/discovery/targetgroup"
)

const (
	agent    = "127.0.0.1:8500"
	deadline = 20 * time.Second // for a change to show; a blocking query tells it at once
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

func put(path, body string) {
	request, err := http.NewRequest(http.MethodPut, "http://"+agent+path, strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		panic(err)
	}
	answer.Body.Close()
	check("PUT "+path, 200, answer.StatusCode)
}

func register(id, version string, port int) {
	put("/v1/agent/service/register", fmt.Sprintf(`{"ID": %q, "Name": "shop", "Address": "10.7.1.%d", "Port": %d,
	  "Tags": ["metrics", "blue"], "Meta": {"version": %q},
	  "Check": {"CheckID": "ttl:%s", "TTL": "1h", "Status": "passing"}}`, id, port%100, port, version, id))
}

// What is discovered, by the source of each group, as Prometheus' manager keeps it.
type seen map[string]*targetgroup.Group

func (s seen) targets() []string {
	all := []string{}
	for _, group := range s {
		for _, target := range group.Targets {
			all = append(all, string(target["__address__"]))
		}
	}
	sort.Strings(all)
	return all
}

func (s seen) label(address, name string) string {
	for _, group := range s {
		for _, target := range group.Targets {
			if string(target["__address__"]) != address {
				continue
			}
			for _, labels := range []model.LabelSet{target, group.Labels} {
				if value, found := labels[model.LabelName("__meta_consul_"+name)]; found {
					return string(value)
				}
			}
		}
	}
	return "(none)"
}

// Take what comes until the targets are these.
func (s seen) await(what string, updates chan []*targetgroup.Group, want ...string) {
	end := time.After(deadline)
	for !reflect.DeepEqual(s.targets(), append([]string{}, want...)) {
		select {
		case groups := <-updates:
			for _, group := range groups {
				s[group.Source] = group
			}
		case <-end:
			check(what, want, s.targets())
			return
		}
	}
	fmt.Println("ok:", what)
}

// stop ends the discovery and takes what it still sends.
func start(tags, services []string) (chan []*targetgroup.Group, func()) {
	config := consul.DefaultSDConfig
	config.Server = agent
	config.RefreshInterval = model.Duration(100 * time.Millisecond) // it pauses so long between two queries
	config.ServiceTags = tags
	config.Services = services
	registry := prometheus.NewRegistry()
	metrics := config.NewDiscovererMetrics(registry, discovery.NewRefreshMetrics(registry))
	if err := metrics.Register(); err != nil {
		panic(err)
	}
	discoverer, err := config.NewDiscoverer(discovery.DiscovererOptions{Logger: promslog.NewNopLogger(), Metrics: metrics})
	if err != nil {
		panic(err)
	}
	updates := make(chan []*targetgroup.Group)
	ctx, cancel := context.WithCancel(context.Background())
	go discoverer.Run(ctx, updates)
	return updates, cancel
}

func main() {
	register("shop-1", "1", 8001)
	register("shop-2", "2", 8002)
	put("/v1/agent/service/register", `{"Name": "other", "Address": "10.7.2.1", "Port": 9000}`)
	put("/v1/catalog/register", `{"Node": "elsewhere", "Address": "10.7.3.1",
	  "Service": {"ID": "shop-9", "Service": "shop", "Port": 8009, "Tags": ["metrics"]}}`)

	s := seen{}
	updates, stop := start([]string{"metrics"}, nil)
	s.await("the targets with a tag", updates, "10.7.1.1:8001", "10.7.1.2:8002", "10.7.3.1:8009")
	one := "10.7.1.1:8001"
	check("label service", "shop", s.label(one, "service"))
	check("label service_id", "shop-1", s.label(one, "service_id"))
	check("label tags", ",metrics,blue,", s.label(one, "tags"))
	check("label health", "passing", s.label(one, "health"))
	check("label of metadata", "1", s.label(one, "service_metadata_version"))
	check("label of the other node", "elsewhere", s.label("10.7.3.1:8009", "node"))
	register("shop-3", "3", 8003)
	s.await("one more is noticed", updates, "10.7.1.1:8001", "10.7.1.2:8002", "10.7.1.3:8003", "10.7.3.1:8009")
	put("/v1/agent/service/deregister/shop-2", "")
	put("/v1/catalog/deregister", `{"Node": "elsewhere"}`)
	s.await("those that left go", updates, "10.7.1.1:8001", "10.7.1.3:8003")
	put("/v1/agent/check/fail/ttl:shop-1", "")
	for end := time.Now().Add(deadline); s.label(one, "health") != "critical" && time.Now().Before(end); {
		select {
		case groups := <-updates:
			for _, group := range groups {
				s[group.Source] = group
			}
		case <-time.After(time.Second):
		}
	}
	check("health follows", "critical", s.label(one, "health"))
	stop()

	s = seen{}
	updates, stop = start(nil, []string{"other"})
	s.await("the targets of a named service", updates, "10.7.2.1:9000")
	put("/v1/agent/service/deregister/other", "")
	s.await("none when it is gone", updates)
	stop()
	put("/v1/agent/service/deregister/shop-1", "")
	put("/v1/agent/service/deregister/shop-3", "")
	if failed {
		os.Exit(1)
	}
}
