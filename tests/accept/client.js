// SPDX-License-Identifier: Apache-2.0
// The npm package "consul", unmodified, against the agent: what it reads must be what it registered. Prints a
// line for each finding and ends with status 1 when one is not as expected.
'use strict';
const assert = require('node:assert');
const Consul = require('consul');

let failed = false;

function check(what, want, have) {
  try {
    assert.deepStrictEqual(have, want);
    console.log(`ok: ${what}`);
  } catch {
    console.log(`FAILED: ${what}: expected ${JSON.stringify(want)}, saw ${JSON.stringify(have)}`);
    failed = true;
  }
}

const ids = (entries) => entries.map((e) => e.Service.ID).sort();

async function registry(c) {
  await c.agent.service.register({
    id: 'js-1', name: 'js', address: '10.7.1.1', port: 81, tags: ['a', 'b'], meta: { version: '1' },
    check: { ttl: '1h', status: 'passing' },
  });
  await c.agent.service.register({ id: 'js-2', name: 'js', address: '10.7.1.2', port: 82 });
  check('health.service', ['js-1', 'js-2'], ids(await c.health.service('js')));
  check('health.service by tag', ['js-1'], ids(await c.health.service({ service: 'js', tag: 'a' })));
  check('health.service by filter', ['js-1'],
    ids(await c.health.service({ service: 'js', filter: 'Service.Meta.version == "1"' })));
  check('agent.service.list', ['js-1', 'js-2'], Object.keys(await c.agent.service.list()).sort());
  check('catalog.services', ['a', 'b'], (await c.catalog.services()).js.sort());
  check('catalog.service.nodes', [81, 82], (await c.catalog.service.nodes('js')).map((s) => s.ServicePort).sort());
  check('catalog.datacenters', 1, (await c.catalog.datacenters()).length);
  check('status.leader', 'string', typeof await c.status.leader());
  check('agent.members', 1, (await c.agent.members()).length);
}

async function checks(c) {
  await c.agent.check.warn({ id: 'service:js-1', note: 'busy' });
  check('a warning', 'busy', (await c.agent.check.list())['service:js-1'].Output);
  await c.agent.check.register({ id: 'own', name: 'own', serviceid: 'js-2', ttl: '1h' });
  check('a check of its own', ['own'],
    (await c.health.state('critical')).map((x) => x.CheckID));
  await c.agent.check.pass('own');
  await c.agent.service.maintenance({ id: 'js-1', enable: true, reason: 'a reason' });
  check('passing', ['js-2'], ids(await c.health.service({ service: 'js', passing: true })));
  await c.agent.service.maintenance({ id: 'js-1', enable: false });
  await c.agent.check.deregister('own');
  await c.agent.check.fail('own').then(
    () => check('an unknown check is an error', true, false),
    (e) => check('an unknown check is an error', 404, e.statusCode ?? e.response?.statusCode));
}

async function catalog(c) {
  const put = (path, body) => fetch(`http://127.0.0.1:8500${path}`, { method: 'PUT', body: JSON.stringify(body) })
    .then((r) => r.json());
  check('catalog/register', true, await put('/v1/catalog/register',
    { Node: 'slate', Address: '10.8.7.1', Service: { ID: 'tin-1', Service: 'tin', Port: 81 } }));
  check('its node', ['slate'], (await c.health.service('tin')).map((x) => x.Node.Node));
  check('nodes', true, (await c.catalog.node.list()).some((n) => n.Node === 'slate'));
  check('catalog/deregister', true, await put('/v1/catalog/deregister', { Node: 'slate' }));
}

async function watches(c) {
  const watch = c.watch({ method: c.health.service, options: { service: 'js', wait: '60s' }, backoffFactor: 100 });
  const seen = [];
  await new Promise((done, refuse) => {
    watch.on('error', refuse);
    watch.on('change', (entries) => {
      seen.push(entries.length);
      if (seen.length === 1) c.agent.service.deregister('js-2');
      else if (entries.length === 1) done();
    });
  });
  watch.end();
  check('a watch', [2, 1], seen);
  await c.agent.service.deregister('js-1');
  check('nothing is left', [], await c.health.service('js'));
}

async function main() {
  const c = new Consul({ host: '127.0.0.1', port: 8500 });
  await registry(c);
  await checks(c);
  await catalog(c);
  await watches(c);
}

main().catch((e) => {
  console.log(`FAILED: ${e.stack}`);
  failed = true;
}).finally(() => process.exit(failed ? 1 : 0));
