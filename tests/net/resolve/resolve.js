// SPDX-License-Identifier: Apache-2.0
// resolve.js - Node: c-ares for A, and that AAAA is NODATA, until the file is there: NAME STOP.
// Prints "begun", and "<look-ups> <failures>".
const dns = require("node:dns").promises;
const fs = require("node:fs");
const [name, stop] = process.argv.slice(2);

(async () => {
	let ops = 0, failures = 0;
	for (; !fs.existsSync(stop); ops++) {
		try {
			await dns.resolve4(name);
			await dns.resolve6(name).catch((e) => {
				if (e.code !== "ENODATA") throw e;
			});
		} catch (e) {
			console.error(ops, e.code);
			failures++;
		}
		if (!ops) console.log("begun");
		await new Promise((done) => setTimeout(done, 5));
	}
	console.log(ops, failures);
})();
