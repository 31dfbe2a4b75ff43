// SPDX-License-Identifier: Apache-2.0
// resolve.js - Node: c-ares for A and AAAA, of which one may be NODATA, until the file is there: NAME STOP.
// Prints "begun", and "<look-ups> <failures>". all NAME TYPE: what A, AAAA or SRV has, one a line;
// libc NAME TYPE: the same by dns.lookup(), which asks the C library.
const dns = require("node:dns").promises;
const fs = require("node:fs");
const [name, stop] = process.argv.slice(2);

async function all(how, name, type) {
	const family = type === "A" ? 4 : 6;

	if (how === "libc")
		return (await dns.lookup(name, { all: true, family })).map((a) => a.address);
	if (type === "SRV")
		return (await dns.resolveSrv(name)).map((s) => `${s.priority} ${s.weight} ${s.port} ${s.name}`);
	return dns[`resolve${family}`](name);
}

(async () => {
	if (name === "all" || name === "libc") {
		for (const line of await all(...process.argv.slice(2)).catch(() => process.exit(1)))
			console.log(line);
		return;
	}
	let ops = 0, failures = 0;
	for (; !fs.existsSync(stop); ops++) {
		try {
			const nothing = (e) => {
				if (e.code !== "ENODATA") throw e;
				return [];
			};
			const found = [...(await dns.resolve4(name).catch(nothing)), ...(await dns.resolve6(name).catch(nothing))];

			if (!found.length) throw { code: "ENODATA" };
		} catch (e) {
			console.error(ops, e.code);
			failures++;
		}
		if (!ops) console.log("begun");
		await new Promise((done) => setTimeout(done, 5));
	}
	console.log(ops, failures);
})();
