/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry metadata */
/* The filter language: what it accepts, what each operator makes of each type, its errors word for
 * word where clients know them, its limits, and random expressions against a naive evaluation. */
#include "userspace/base/buf.h"
#include "userspace/base/clock.h"
#include "userspace/base/macros.h"
#include "userspace/metadata/filter.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static char *tags[] = {(char[]){"blue"}, (char[]){"v7"}};
static struct wm_pair meta[] = {{(char[]){"a.b c"}, (char[]){"dots"}},
				{(char[]){"empty"}, (char[]){""}},
				{(char[]){"version"}, (char[]){"2.1"}}};
static struct wm_pair node_meta[] = {{(char[]){"zone"}, (char[]){"z1"}}};
static struct wm_tagged_address tagged_wan[] = {{(char[]){"wan"}, (char[]){"198.51.100.4"}, 19001}};
static struct wm_node node = {.self = true,
			      .name = (char[]){"granite-2"},
			      .id = (char[]){"0416e1fd-c5a3-77a0-bd00-f1cc55814540"},
			      .address = (char[]){"10.8.0.2"},
			      .meta = node_meta,
			      .meta_count = 1};
static struct wm_service service = {.name = (char[]){"quill"}};
static struct wm_instance instance;
static struct wm_check checks[] = {{.id = (char[]){"ready"},
				    .name = (char[]){"a check"},
				    .notes = (char[]){"note"},
				    .output = (char[]){"out\nof order"},
				    .kind = WM_CHECK_HTTP,
				    .interval_ms = 90000,
				    .status = WM_PASSING,
				    .instance = &instance},
				   {.id = (char[]){"alive"},
				    .name = (char[]){"a check"},
				    .notes = (char[]){"note"},
				    .output = (char[]){""},
				    .kind = WM_CHECK_HTTP,
				    .status = WM_CRITICAL,
				    .instance = &instance}};
static struct wm_check *check_list[] = {&checks[0], &checks[1]};
static struct wm_instance instance = {.id = (char[]){"quill-1"},
				      .name = (char[]){"quill"},
				      .node = &node,
				      .service = &service,
				      .address = (char[]){"10.8.1.1"},
				      .port = 9001,
				      .weight_passing = 5,
				      .weight_warning = 1,
				      .tags = tags,
				      .tags_count = 2,
				      .meta = meta,
				      .meta_count = 3,
				      .tagged = tagged_wan,
				      .tagged_count = 1,
				      .checks = check_list,
				      .checks_count = 2};
static struct wm_instance holder;
static struct wm_check node_check = {.id = (char[]){"disk"},
				     .name = (char[]){"disk"},
				     .notes = (char[]){""},
				     .output = (char[]){""},
				     .status = WM_WARNING,
				     .instance = &holder};
static struct wm_check *node_checks[] = {&node_check};
static struct wm_instance holder = {.id = (char[]){""},
				    .name = (char[]){""},
				    .node = &node,
				    .checks = node_checks,
				    .checks_count = 1};
static struct wm_filter_row row;

/* Each test has a process of its own: what it changes is its own. */
static void setup(void)
{
	instance.addr4.s_addr = htonl(0x0a080101);
	row = (struct wm_filter_row){.datacenter = "quay", .node = &node, .instance = &instance};
}

TestSuite(filter, .init = setup, .timeout = 300);

static struct wm_filter *compile(enum wm_filter_kind kind, const char *text)
{
	struct wm_filter *f;
	struct wm_err e = {0};

	cr_assert_eq(wm_filter_compile(text, kind, &f, &e), 0, "%s: %s", text, e.text);
	return f;
}

static bool fits(enum wm_filter_kind kind, const char *text)
{
	struct wm_filter *f = compile(kind, text);
	bool yes = wm_filter_match(f, &row);

	cr_assert_eq(wm_filter_end(f), WM_FILTER_DONE, "%s", text);
	wm_filter_free(f);
	return yes;
}

struct example {
	bool fits;
	const char *text;
};
#define ALL(kind, examples)                                                                        \
	for (size_t i_ = 0; i_ < WM_ARRAY_LEN(examples); i_++)                                     \
	cr_expect_eq(fits(kind, (examples)[i_].text), (examples)[i_].fits, "%s",                   \
		     (examples)[i_].text)

Test(filter, strings_lists_and_maps)
{
	static const struct example e[] = {
		{true, "ID == \"quill-1\""},
		{true, "ID == quill.one or ID != quill"},
		{true, "Service == quill"},
		{false, "Service == Quill"},
		{true, "Service!=`Quill`"},
		{true, "uil in Service"},
		{true, "Service contains \"uil\""},
		{false, "Service not contains \"uil\""},
		{true, "x not in Service"},
		{true, "Service matches \"^qu.l+$\""},
		{false, "Service matches \"^uill\""},
		{true, "Service not matches `\\d`"},
		{true, "blue in Tags"},
		{false, "blu in Tags"},
		{true, "Tags contains v7"},
		{true, "v8 not in Tags"},
		{false, "Tags is empty"},
		{true, "Tags is not empty"},
		{true, "Meta.version == 2.1"},
		{true, "Meta.version == \"2.1\""},
		{true, "Meta[\"version\"] == \"2.1\""},
		{true, "Meta[ `a.b c` ] == dots"},
		{true, "Meta.empty == \"\""},
		{true, "version in Meta"},
		{true, "Meta contains empty"},
		{false, "Meta contains none"},
		{true, "none not in Meta"},
		{false, "Meta is empty"},
		{true, "Meta is not empty"},
		/* a key that is not there: ==, in, matches are false and their opposites true */
		{false, "Meta.none == \"\""},
		{true, "Meta.none != \"\""},
		{false, "x in Meta.none"},
		{true, "x not in Meta.none"},
		{false, "Meta.none matches \".*\""},
		{true, "Meta.none not matches \".*\""},
	};

	ALL(WM_FILTER_SERVICE, e);
	instance.tags_count = instance.meta_count = 0;
	cr_expect(fits(WM_FILTER_SERVICE, "Tags is empty and Meta is empty"));
}

/* Selectors are of what answers show: a key of a scope is a name there. */
Test(filter, a_service_of_a_scope_has_its_bare_name)
{
	instance.name = (char[]){"team/quill"};
	cr_expect(fits(WM_FILTER_SERVICE, "Service == quill"));
	cr_expect_not(fits(WM_FILTER_SERVICE, "Service == \"team/quill\""));
	cr_expect(fits(WM_FILTER_CATALOG_SERVICE, "ServiceName matches \"^quill$\""));
	cr_expect(fits(WM_FILTER_HEALTH_SERVICE, "Service.Service == quill"));
	cr_expect(fits(WM_FILTER_HEALTH_SERVICE, "Checks.ServiceName == quill"));
	instance.name = (char[]){"a.b/quill"};
	cr_expect(fits(WM_FILTER_SERVICE, "Service == \"a.b/quill\""));
}

Test(filter, namespace_is_the_scope_of_a_service)
{
	static const struct {
		enum wm_filter_kind kind;
		const char *selector;
	} all[] = {{WM_FILTER_SERVICE, "Namespace"},
		   {WM_FILTER_CATALOG_SERVICE, "Namespace"},
		   {WM_FILTER_HEALTH_SERVICE, "Service.Namespace"},
		   {WM_FILTER_HEALTH_SERVICE, "Checks.Namespace"},
		   {WM_FILTER_NATIVE, "Service.Namespace"}};
	char text[128];

	instance.name = (char[]){"team/quill"};
	for (size_t n = 0; n < WM_ARRAY_LEN(all); n++) {
		const char *s = all[n].selector;

		snprintf(text, sizeof(text), "%s == team and %s matches \"^te.m$\" and ea in %s", s,
			 s, s);
		cr_expect(fits(all[n].kind, text), "%s", text);
		snprintf(text, sizeof(text), "%s == default", s);
		cr_expect_not(fits(all[n].kind, text), "%s", text);
	}
	row.check = &checks[0];
	cr_expect(fits(WM_FILTER_CHECK, "Namespace == team"));
	row.check = &node_check;
	cr_expect(fits(WM_FILTER_CHECK, "Namespace == \"\""), "a node has none");
	row.check = NULL;
	cr_expect(fits(WM_FILTER_CHECK, "Namespace == \"\""), "nor has serfHealth");
	instance.name = (char[]){"quill"};
	cr_expect(fits(WM_FILTER_SERVICE, "Namespace == \"\""));
	instance.name = (char[]){"a.b/quill"};
	cr_expect(fits(WM_FILTER_SERVICE, "Namespace == \"\""), "a slash of its own");
}

Test(filter, numbers_booleans_and_addresses)
{
	static const struct example e[] = {
		{true, "Port == 9001"},
		{true, "Port == \"9001\""},
		{false, "Port != 9001"},
		{false, "Port == -9001"},
		{false, "Port == 4294967295"},
		{true, "Weights.Passing == 5 and Weights.Warning == 1"},
		{true, "EnableTagOverride == false"},
		{true, "EnableTagOverride != T"},
		{true, "Connect.Native == 0"},
		{true, "Kind == \"\""},
		{true, "TaggedAddresses.wan.Port == 19001"},
		{true, "TaggedAddresses.wan.Address == \"198.51.100.4\""},
		{true, "TaggedAddresses.lan_ipv4.Address == \"10.8.1.1\""},
		{true, "TaggedAddresses.lan_ipv4.Port == 9001"},
		{false, "TaggedAddresses.lan_ipv6.Port == 9001"},
		{true, "TaggedAddresses.lan_ipv6.Port != 9001"},
		{true, "wan_ipv4 in TaggedAddresses"},
		{false, "lan in TaggedAddresses"},
		{true, "TaggedAddresses is not empty"},
	};

	ALL(WM_FILTER_SERVICE, e);
}

Test(filter, each_kind_has_its_names)
{
	static const struct example catalog[] = {
		{true, "ServiceMeta.version == \"2.1\" and \"blue\" in ServiceTags"},
		{true, "NodeMeta.zone == z1 and Node == \"granite-2\" and Datacenter == quay"},
		{true, "ServicePort == 9001 or ServiceTags contains \"zz\""},
		{false, "not ServiceName matches \"qu.*\""},
		{false, "ServiceAddress == \"\""},
		{true, "TaggedAddresses.lan == \"10.8.0.2\" and TaggedAddresses.wan_ipv4 != x"},
	};
	static const struct example health[] = {
		{true, "Service.Meta.version == \"2.1\" and Node.Meta.zone == z1"},
		{true, "Node.Node == \"granite-2\" and Service.Service == quill"},
		{true, "Checks.Status == critical"},
		{true, "Checks.Status != critical"}, /* any of them */
		{false, "not Checks.Status != warning"},
		{true, "Checks.CheckID == serfHealth"},
		{true, "Checks.ServiceTags contains blue"},
		{true, "Checks.Output matches \"(?s)out.of\""},
		{false, "Checks.Status == warning"},
		{true, "Checks.Interval == \"1m30s\" and Checks.Interval == \"\""},
		{false, "Checks.Timeout != \"\""},
		{true, "Checks is not empty"},
		{false, "Checks is empty"},
	};
	static const struct example check[] = {
		{true, "Status == passing and CheckID == serfHealth and ServiceID == \"\""},
		{true, "Node == \"granite-2\" and ServiceTags is empty"},
		{true, "Interval == \"\" and ExposedPort == 0 and PeerName == \"\""},
	};

	ALL(WM_FILTER_CATALOG_SERVICE, catalog);
	ALL(WM_FILTER_HEALTH_SERVICE, health);
	ALL(WM_FILTER_CHECK, check);
	/* another node's has those only that were written */
	node.self = false;
	cr_expect(fits(WM_FILTER_HEALTH_SERVICE, "Checks is not empty"));
	instance.checks_count = 0;
	cr_expect(fits(WM_FILTER_HEALTH_SERVICE, "Checks is empty"));
	row.holder = &holder;
	cr_expect(fits(WM_FILTER_HEALTH_SERVICE, "Checks is not empty"));
	row.holder = &holder;
	cr_expect(fits(WM_FILTER_HEALTH_SERVICE, "Checks.CheckID == disk and Checks.Status == "
						 "warning"));
	row.check = &node_check;
	cr_expect(fits(WM_FILTER_CHECK, "ServiceName == \"\" and ServiceTags is empty"));
	row.check = &checks[1];
	cr_expect(fits(WM_FILTER_CHECK, "Status == critical and ServiceName == quill and "
					"Type == http and Name == \"a check\" and Notes == note"));
	row.instance = NULL;
	cr_expect(fits(WM_FILTER_NODE, "Meta.zone == z1 and Address == \"10.8.0.2\""));
}

static const struct wm_pair members[] = {
	{(char[]){"DestinationServiceName"}, (char[]){"web"}},
	{(char[]){"Upstreams"},
	 (char[]){"[{\"DestinationType\":\"service\",\"DestinationName\":\"d\\u0062\","
		  "\"LocalBindPort\":9191,\"Config\":{\"DestinationName\":\"no\"}},"
		  "{\"DestinationType\":\"prepared_query\",\"DestinationName\":\"cache\","
		  "\"Datacenter\":\"dc2\",\"MeshGateway\":{\"Mode\":\"remote\"}}]"}},
	{(char[]){"Expose.Paths"},
	 (char[]){"[{\"ListenerPort\":21500,\"Path\":\"/x\",\"ParsedFromCheck\":true}]"}},
	{(char[]){"EnvoyExtensions"},
	 (char[]){"[{\"Name\":\"lua\",\"Arguments\":{\"Name\":\"no\"},\"Required\":true}]"}},
	{(char[]){"TransparentProxy"}, (char[]){"{\"OutboundListenerPort\":15001}"}},
	{(char[]){"AccessLogs"}, (char[]){"{\"Enabled\":true,\"Path\":\"/var/log/a\"}"}}};

/* Through a list a selector is true if any element is, whatever the operator. */
Test(filter, looks_into_the_members_of_proxy)
{
	static const struct example full[] = {
		{true, "Proxy.Upstreams is not empty"},
		{false, "Proxy.Upstreams is empty"},
		{true, "Proxy.Upstreams.DestinationName == db"},
		{true, "Proxy.Upstreams.DestinationName == cache"},
		{false, "Proxy.Upstreams.DestinationName == no"},
		{true, "Proxy.Upstreams.DestinationName != db"},
		{false, "not Proxy.Upstreams.DestinationName == db"},
		{true, "Proxy.Upstreams.DestinationName matches \"^ca\""},
		{true, "ac in Proxy.Upstreams.DestinationName"},
		{true, "Proxy.Upstreams.DestinationType == prepared_query"},
		{true, "Proxy.Upstreams.Datacenter == dc2"},
		{true, "Proxy.Upstreams.Datacenter == \"\""},
		{true, "Proxy.Upstreams.LocalBindPort == 9191"},
		{true, "Proxy.Upstreams.LocalBindPort == 0"},
		{false, "Proxy.Upstreams.LocalBindPort == 919"},
		{true, "Proxy.Upstreams.MeshGateway.Mode == remote"},
		{false, "Proxy.Upstreams.MeshGateway.Mode == local"},
		{true, "Proxy.Expose.Paths is not empty and Proxy.Expose.Paths.Path == \"/x\""},
		{true, "Proxy.Expose.Paths.ListenerPort == 21500"},
		{true, "Proxy.Expose.Paths.ParsedFromCheck == true"},
		{true, "Proxy.Expose.Paths.Protocol == \"\""},
		{true, "Proxy.EnvoyExtensions.Name == lua"},
		{false, "Proxy.EnvoyExtensions.Name == no"},
		{false, "Proxy.EnvoyExtensions.Required != true"},
		{true, "Proxy.TransparentProxy.OutboundListenerPort == 15001"},
		{true, "Proxy.TransparentProxy.DialedDirectly == false"},
		{true, "Proxy.AccessLogs.Enabled == true"},
		{true, "Proxy.AccessLogs.Path matches \"^/var\""},
		{true, "Proxy.AccessLogs.JSONFormat == \"\""},
	};
	static const struct example bare[] = {
		{true, "Proxy.Upstreams is empty"},
		{false, "Proxy.Upstreams.DestinationName == \"\""},
		{false, "Proxy.Upstreams.DestinationName != db"},
		{true, "not Proxy.Upstreams.DestinationName == db"},
		{true, "Proxy.EnvoyExtensions is empty and Proxy.Expose.Paths is empty"},
		{true, "Proxy.TransparentProxy.OutboundListenerPort == 0"},
		{true, "Proxy.AccessLogs.Enabled == false and Proxy.AccessLogs.Type == \"\""},
	};
	const struct wm_traits t = {.region = "",
				    .zone = "",
				    .kind = "connect-proxy",
				    .socket_path = "",
				    .proxy = members,
				    .proxy_count = WM_ARRAY_LEN(members)};

	ALL(WM_FILTER_SERVICE, bare);
	instance.traits = &t;
	ALL(WM_FILTER_SERVICE, full);
	cr_expect(fits(WM_FILTER_CATALOG_SERVICE, "ServiceProxy.Upstreams.DestinationName == db"));
	cr_expect(fits(WM_FILTER_HEALTH_SERVICE, "Service.Proxy.AccessLogs.Enabled == true"));
	cr_expect(fits(WM_FILTER_NATIVE, "Service.Proxy.Expose.Paths.Path == \"/x\""));
}

/* Consul 1.21's fields and what each may be asked: S a string, N a number or a boolean, L a list, M
 * a map, O a list of objects. */
static const char service_fields[] =
	"S:Address N:Connect.Native N:EnableTagOverride S:ID S:Kind M:Meta S:Meta.any S:PeerName "
	"N:Port S:Proxy.AccessLogs.Type S:Proxy.AccessLogs.Path S:Proxy.AccessLogs.JSONFormat "
	"S:Proxy.AccessLogs.TextFormat N:Proxy.AccessLogs.Enabled "
	"N:Proxy.AccessLogs.DisableListenerLogs S:Proxy.DestinationServiceID "
	"S:Proxy.DestinationServiceName O:Proxy.EnvoyExtensions "
	"S:Proxy.EnvoyExtensions.ConsulVersion S:Proxy.EnvoyExtensions.EnvoyVersion "
	"S:Proxy.EnvoyExtensions.Name N:Proxy.EnvoyExtensions.Required N:Proxy.Expose.Checks "
	"O:Proxy.Expose.Paths N:Proxy.Expose.Paths.ListenerPort "
	"N:Proxy.Expose.Paths.LocalPathPort N:Proxy.Expose.Paths.ParsedFromCheck "
	"S:Proxy.Expose.Paths.Path S:Proxy.Expose.Paths.Protocol S:Proxy.LocalServiceAddress "
	"N:Proxy.LocalServicePort S:Proxy.LocalServiceSocketPath S:Proxy.MeshGateway.Mode "
	"S:Proxy.Mode N:Proxy.TransparentProxy.DialedDirectly "
	"N:Proxy.TransparentProxy.OutboundListenerPort O:Proxy.Upstreams "
	"S:Proxy.Upstreams.Datacenter S:Proxy.Upstreams.DestinationName "
	"S:Proxy.Upstreams.DestinationNamespace S:Proxy.Upstreams.DestinationPartition "
	"S:Proxy.Upstreams.DestinationPeer S:Proxy.Upstreams.DestinationType "
	"S:Proxy.Upstreams.LocalBindAddress N:Proxy.Upstreams.LocalBindPort "
	"S:Proxy.Upstreams.LocalBindSocketMode S:Proxy.Upstreams.LocalBindSocketPath "
	"S:Proxy.Upstreams.MeshGateway.Mode S:Namespace S:Service S:SocketPath M:TaggedAddresses "
	"S:TaggedAddresses.any.Address N:TaggedAddresses.any.Port L:Tags N:Weights.Passing "
	"N:Weights.Warning";
static const char node_fields[] = "S:Address S:Datacenter S:ID M:Meta S:Meta.any S:Node "
				  "S:Partition S:PeerName M:TaggedAddresses S:TaggedAddresses.any";
static const char check_fields[] = "S:CheckID N:ExposedPort S:Interval S:Name S:Namespace S:Node "
				   "S:Notes S:Output S:PeerName S:ServiceID "
				   "S:ServiceName L:ServiceTags S:Status S:Timeout S:Type";

/* May @p type be asked with @p op? */
static bool op_of(char type, unsigned op)
{
	static const char *const types[] = {"SN", "SN", "SLM", "SLM", "LMO", "LMO", "S", "S"};

	return strchr(types[op], type) != NULL;
}

static void ask_of_all(enum wm_filter_kind kind, const char *prefix, const char *fields)
{
	static const struct {
		const char *before, *behind;
	} forms[] = {{"", " == 1"},	 {"", " != 1"},		{"a in ", ""},
		     {"a not in ", ""},	 {"", " is empty"},	{"", " is not empty"},
		     {"", " matches a"}, {"", " not matches a"}};

	for (const char *at = fields; *at; at += strcspn(at, " "), at += strspn(at, " ")) {
		for (unsigned op = 0; op < WM_ARRAY_LEN(forms); op++) {
			char name[128], text[160];
			struct wm_err e = {0};
			struct wm_filter *f;

			snprintf(name, sizeof(name), "%s%.*s", prefix, (int)strcspn(at + 2, " "),
				 at + 2);
			snprintf(text, sizeof(text), "%s%s%s", forms[op].before, name,
				 forms[op].behind);
			cr_expect_eq(!wm_filter_compile(text, kind, &f, &e), op_of(*at, op),
				     "%s: %s", text, e.text);
			if (!op_of(*at, op))
				cr_expect(strstr(e.text, "Invalid match operator"), "%s", e.text);
			wm_filter_free(f);
		}
	}
}

Test(filter, has_consuls_fields_and_their_operators)
{
	ask_of_all(WM_FILTER_SERVICE, "", service_fields);
	ask_of_all(WM_FILTER_HEALTH_SERVICE, "Service.", service_fields);
	ask_of_all(WM_FILTER_NODE, "", node_fields);
	ask_of_all(WM_FILTER_HEALTH_SERVICE, "Node.", node_fields);
	ask_of_all(WM_FILTER_CHECK, "", check_fields);
	ask_of_all(WM_FILTER_HEALTH_SERVICE, "Checks.", check_fields);
	ask_of_all(WM_FILTER_HEALTH_SERVICE, "", "O:Checks");
	ask_of_all(
		WM_FILTER_CATALOG_SERVICE, "",
		"S:ID S:Node S:Address S:Datacenter M:TaggedAddresses S:TaggedAddresses.any "
		"M:NodeMeta S:NodeMeta.any S:ServiceKind S:ServiceID S:ServiceName L:ServiceTags "
		"S:ServiceAddress M:ServiceTaggedAddresses S:ServiceTaggedAddresses.any.Address "
		"N:ServiceTaggedAddresses.any.Port M:ServiceMeta S:ServiceMeta.any N:ServicePort "
		"S:ServiceSocketPath N:ServiceWeights.Passing N:ServiceEnableTagOverride "
		"O:ServiceProxy.Upstreams N:ServiceConnect.Native S:Namespace S:PeerName");
}

Test(filter, words_bind_as_not_and_or)
{
	static const struct example e[] = {
		{true, "ID == x and ID == x or Port == 9001"},
		{false, "ID == x and (ID == x or Port == 9001)"},
		{true, "Port == 9001 or ID == x and ID == x"},
		{true, "not ID == x and Port == 9001"},
		{false, "not (not ID == x and Port == 9001)"},
		{true, "not not Port == 9001"},
		{true, " \t( ( Port==9001 )\r\n) "},
		{true, "(Port == 9001) and (ID != x)"},
		{true, "ID == not or Port == 9001"},
		{true, "Meta[\"a.b c\"] == \"\\u0064o\\x74s\""},
		{false, "ID == \"\\t\\n\\\\\""},
	};

	ALL(WM_FILTER_SERVICE, e);
}

static void expect_error(const char *text, const char *error)
{
	struct wm_filter *f;
	struct wm_err e = {0};
	int err = wm_filter_compile(text, WM_FILTER_CATALOG_SERVICE, &f, &e);

	cr_expect(err < 0 && !f, "%s was accepted", text);
	cr_expect_str_eq(e.text, error, "%s", text);
}

Test(filter, errors_name_the_place_the_selector_or_the_value)
{
	expect_error("Bad == 1", "Selector \"Bad\" is not valid");
	expect_error("ServiceMeta.a.b == 1", "Selector \"ServiceMeta.a.b\" is not valid");
	expect_error(
		"ServiceMeta.version is not empty",
		"Invalid match operator \"Is Not Empty\" for selector \"ServiceMeta.version\"");
	expect_error("ServiceTags == a",
		     "Invalid match operator \"Equal\" for selector \"ServiceTags\"");
	expect_error("a not in ServicePort",
		     "Invalid match operator \"Not In\" for selector \"ServicePort\"");
	expect_error("ServicePort == many", "Failed to coerce value \"many\" for selector "
					    "\"ServicePort\": not an integer");
	expect_error("ServicePort == 99999999999999999999",
		     "Failed to coerce value \"99999999999999999999\" for selector "
		     "\"ServicePort\": not an integer");
	expect_error("ServicePort == 1.5", "Failed to coerce value \"1.5\" for selector "
					   "\"ServicePort\": not an integer");
	expect_error("ServiceEnableTagOverride == maybe",
		     "Failed to coerce value \"maybe\" for selector "
		     "\"ServiceEnableTagOverride\": not a boolean");
	expect_error("ServicePort > 1",
		     "1:13 (12): no match found, expected: \"==\", \"!=\", \"contains\", \"in\", "
		     "\"is\", \"matches\" or \"not\"");
	expect_error("ServiceMeta.version ==", "1:23 (22): no match found, expected: \"(\", a "
					       "selector or a value");
	expect_error("Node == a\nand (Node == b", "2:15 (24): no match found, expected: \")\"");
	expect_error("Node == a Node == b",
		     "1:11 (10): no match found, expected: \"and\", \"or\" or the end");
	expect_error("Node == \"a", "1:9 (8): no match found, expected: the end of the string");
	expect_error("Node == \"\\q\"",
		     "1:10 (9): no match found, expected: an escape of a Go string");
	expect_error("Node == \"a\\x00\"",
		     "1:11 (10): no match found, expected: an escape of a Go string");
	expect_error("Node == 12a", "1:11 (10): no match found, expected: the end of the number");
	expect_error("\"a\" == \"b\"", "1:11 (10): no match found, expected: a selector");
	expect_error("Node matches \"(\"", "Failed to coerce value \"(\" for selector \"Node\": "
					   "missing closing parenthesis");
}

Test(filter, expressions_that_need_backtracking_are_refused)
{
	static const char *const bad[] = {"(a)\\1",    "a(?=b)",	 "a(?!b)",  "(?<=a)b",
					  "(?<!a)b",   "(?>a+)b",	 "(?R)",    "(?P=x)",
					  "(*ACCEPT)", "(?P<n>a)\\k<n>", "(?(1)a)", "[]a](?=b)"};
	static const char *const good[] = {
		"(?i)GRANITE", "(?P<n>granite)",      "(?:g|h)ranite",	      "(?-s)a.i",
		"\\Qgran\\E",  "[^](?=]granite-2$|2", "[[:alpha:](?=]+\\-2$", "\\(?=?granite"};
	char text[128];
	struct wm_filter *f;
	struct wm_err e;

	for (size_t i = 0; i < WM_ARRAY_LEN(bad); i++) {
		snprintf(text, sizeof(text), "Node matches `%s`", bad[i]);
		cr_expect_eq(wm_filter_compile(text, WM_FILTER_NODE, &f, &e), -EINVAL, "%s", text);
		cr_expect(strstr(e.text, "not supported"), "%s: %s", text, e.text);
	}
	for (size_t i = 0; i < WM_ARRAY_LEN(good); i++) {
		snprintf(text, sizeof(text), "Node matches `%s`", good[i]);
		cr_expect(fits(WM_FILTER_NODE, text), "%s", text);
	}
}

static char *repeat(const char *head, const char *part, unsigned count, const char *tail)
{
	struct wm_buf b;

	wm_buf_init(&b, 1 << 20);
	wm_buf_puts(&b, head);
	for (unsigned i = 0; i < count; i++)
		wm_buf_puts(&b, part);
	wm_buf_puts(&b, tail);
	cr_assert(!b.failed);
	return b.data;
}

static void expect_limit(char *text, const char *error)
{
	struct wm_filter *f;
	struct wm_err e = {0};

	cr_expect_eq(wm_filter_compile(text, WM_FILTER_NODE, &f, &e), WM_E_LIMIT, "%s", e.text);
	cr_expect_str_eq(e.text, error);
	free(text);
}

Test(filter, every_limit_is_named)
{
	expect_limit(repeat("", " ", 4097, "Node == a"), "filter: longer than 4096 octets");
	expect_limit(repeat("", "ID == a or ", 256, "ID == a"),
		     "filter: more than 256 comparisons");
	expect_limit(repeat("", "(", 64, "ID == a"),
		     "filter: more than 64 parentheses and \"not\" inside one another");
	expect_limit(repeat("", "not ", 3000 / 4, "ID == a"),
		     "filter: more than 64 parentheses and \"not\" inside one another");
	expect_limit(repeat("a", ".a", 8, " == 1"), "filter: more than 8 parts of a selector");
	expect_limit(repeat("", "ID matches a or ", 16, "ID matches a"),
		     "filter: more than 16 regular expressions");
}

Test(filter, costs_are_bounded_and_said)
{
	struct wm_filter *f = compile(WM_FILTER_CHECK, "Output matches \"^(a|aa)+$\"");
	char output[1001];
	unsigned rows = 0;

	memset(output, 'a', sizeof(output) - 1);
	output[999] = 'b';
	output[1000] = '\0';
	checks[0].output = output;
	row.check = &checks[0];
	cr_expect(!wm_filter_match(f, &row));
	cr_expect_eq(wm_filter_end(f), WM_FILTER_EXCEEDED, "an expression that explodes");
	wm_filter_free(f);

	/* anchored nowhere: PCRE2's own limit begins anew at each of the thousand places */
	f = compile(WM_FILTER_CHECK, "Output matches \"(?:a|a){11}[cd]\"");
	wm_filter_match(f, &row);
	cr_expect_eq(wm_filter_end(f), WM_FILTER_EXCEEDED);
	wm_filter_free(f);

	f = compile(WM_FILTER_CHECK, "Status == warning or Status == passing");
	while (wm_filter_match(f, &row))
		rows++;
	cr_expect_eq(wm_filter_end(f), WM_FILTER_SPENT);
	cr_expect_gt(rows, 1000);
	wm_filter_free(f);
	cr_expect(wm_filter_end(NULL) == WM_FILTER_DONE && wm_filter_match(NULL, &row));
}

/* Groups are not captured, as what is kept for a retry would grow with each of them. */
Test(filter, many_groups_cost_little)
{
	char *text = repeat("Output matches \"", "()", 1900, "$\"");
	struct wm_filter *f = compile(WM_FILTER_CHECK, text);
	char output[4097];
	int yes;

	memset(output, 'a', sizeof(output) - 1);
	output[4096] = '\0';
	checks[0].output = output;
	row.check = &checks[0];
	free(text);
	yes = wm_filter_match(f, &row);
	cr_expect(yes || wm_filter_end(f) == WM_FILTER_EXCEEDED);
	wm_filter_free(f);
}

enum { ROWS = 3000 };
static struct wm_instance many[ROWS];
static char many_ids[ROWS][16];

/* Ask about all rows once. @return how many are wanted. */
static unsigned ask_all(struct wm_filter *f)
{
	unsigned wanted = 0;

	for (unsigned n = 0; n < ROWS; n++) {
		row.instance = &many[n];
		wanted += wm_filter_match(f, &row);
	}
	return wanted;
}

/* A filter in slices: nothing is wanted until all rows were judged, each slice comes further, and
 * the answer is the one without slices, of the rows as they are by then. */
Test(filter, goes_on_in_slices)
{
	const char *text = "ID matches \"^(?:[0-9]|[1-9]){3,9}5$\" and not \"x\" in ID";
	struct wm_filter *f = compile(WM_FILTER_SERVICE, text), *whole;
	unsigned slices = 0, wanted;
	uint64_t state_of_rows = 1;

	for (unsigned n = 0; n < ROWS; n++) {
		many[n] = instance;
		many[n].id = many_ids[n];
		many[n].modify_index = n + 1;
		snprintf(many_ids[n], sizeof(many_ids[n]), "%06u", n);
	}
	wm_filter_begin(f, 0, state_of_rows);
	cr_assert_eq(ask_all(f), 0);
	while (wm_filter_end(f) == WM_FILTER_PAUSED) {
		cr_assert_lt(++slices, 4 * ROWS);
		wm_filter_begin(f, 200000, state_of_rows);
		cr_assert_eq(ask_all(f), 0);
	}
	cr_assert_eq(wm_filter_end(f), WM_FILTER_JUDGED);
	cr_assert_gt(slices, 1);
	/* two rows change after they were judged: one as a new object would, one in place */
	snprintf(many_ids[5], sizeof(many_ids[5]), "none");
	many[5].modify_index = ROWS + 1;
	snprintf(many_ids[6], sizeof(many_ids[6]), "000065");
	many[6].modify_index = ROWS + 2;
	state_of_rows++;
	wm_filter_begin(f, 0, state_of_rows);
	wanted = ask_all(f);
	cr_assert_eq(wm_filter_end(f), WM_FILTER_DONE);
	whole = compile(WM_FILTER_SERVICE, text);
	cr_assert_eq(wanted, ask_all(whole));
	cr_assert_eq(wm_filter_end(whole), WM_FILTER_DONE);
	cr_assert_eq(wanted, ROWS / 10);
	wm_filter_free(whole);
	/* more changed than a replay looks at: they are judged first */
	for (unsigned n = 0; n < ROWS; n++)
		many[n].modify_index += 2 * ROWS;
	state_of_rows++;
	wm_filter_begin(f, UINT64_MAX, state_of_rows);
	ask_all(f);
	cr_assert_eq(wm_filter_end(f), WM_FILTER_PAUSED);
	for (slices = 0; wm_filter_end(f) != WM_FILTER_DONE; slices++) {
		cr_assert_lt(slices, 4 * ROWS);
		wm_filter_begin(f, 200000, state_of_rows);
		wanted = ask_all(f);
	}
	cr_assert_eq(wanted, ROWS / 10);
	wm_filter_free(f);
}

/* --- random expressions ----------------------------------------------------------------------- */
static uint64_t state;

static unsigned draw(unsigned n)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(state >> 33) % n;
}

static bool put_term(struct wm_buf *b)
{
	static const struct example terms[] = {
		{true, "Port == 9001"},	     {false, "Port != 9001"},
		{true, "blue in Tags"},	     {false, "blue not in Tags"},
		{true, "Meta.version!=2"},   {false, "Meta.version == 2"},
		{false, "Tags is empty"},    {true, "Tags is not empty"},
		{true, "ID matches `l-1$`"}, {false, "ID not matches \"quil+\""},
	};
	unsigned i = draw(WM_ARRAY_LEN(terms));

	wm_buf_puts(b, terms[i].text);
	return terms[i].fits;
}

/* Write an expression and say what it is worth: each chain in parentheses, so that how words bind
 * plays no part in the expectation. */
static bool put_expression(struct wm_buf *b, unsigned depth)
{
	unsigned kind = depth ? draw(4) : 0, parts = 2 + draw(3);
	bool value, part;

	if (kind == 0)
		return put_term(b);
	if (kind == 1) {
		wm_buf_puts(b, "not ");
		return !put_expression(b, depth - 1);
	}
	wm_buf_putc(b, '(');
	value = put_expression(b, depth - 1);
	for (unsigned i = 1; i < parts; i++) {
		wm_buf_puts(b, kind == 2 ? " and " : "\tor  ");
		part = put_expression(b, depth - 1);
		value = kind == 2 ? value && part : value || part;
	}
	wm_buf_putc(b, ')');
	return value;
}

Test(filter, random_expressions_are_worth_what_they_say)
{
	unsigned done = 0;
	struct wm_buf b;

	state = wm_clock_ms();
	fprintf(stderr, "seed %llu\n", (unsigned long long)state);
	wm_buf_init(&b, 1 << 20);
	while (done < 20000) {
		struct wm_filter *f;
		struct wm_err e = {0};
		bool want;
		int err;

		wm_buf_reset(&b);
		want = put_expression(&b, 4);
		err = wm_filter_compile(b.data, WM_FILTER_SERVICE, &f, &e);
		if (err == WM_E_LIMIT)
			continue;
		cr_assert_eq(err, 0, "%s: %s", b.data, e.text);
		cr_assert_eq(wm_filter_match(f, &row), want, "%s", b.data);
		wm_filter_free(f);
		done++;
	}
	wm_buf_done(&b);
}
