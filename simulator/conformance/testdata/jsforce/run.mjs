import assert from 'node:assert/strict';
import jsforce from 'jsforce';

const [url, clientId, clientSecret] = process.argv.slice(2);
const conn = new jsforce.Connection({ instanceUrl: url, loginUrl: url, oauth2: { loginUrl: url, clientId, clientSecret, redirectUri: 'http://localhost/cb' } });
await conn.authorize({ grant_type: 'client_credentials' });
assert.equal((await conn.identity()).username, 'admin@simulator.example');

const contacts = conn.sobject('Contact');
assert.ok((await contacts.describe()).fields.find((f) => f.name === 'CatalogUserId__c').externalId);
assert.ok((await conn.describeGlobal()).sobjects.some((o) => o.name === 'Lead'));

let paged = 0;
await new Promise((resolve, reject) => conn.query('SELECT Id, Name FROM Contact').on('record', () => paged++).on('end', resolve).on('error', reject).run({ autoFetch: true, maxFetch: 10000 }));
assert.equal(paged, 4500);
assert.match(conn.limitInfo.apiUsage.used + '/' + conn.limitInfo.apiUsage.limit, /^\d+\/100000$/);

const one = await contacts.create({ LastName: 'js', Email: 'js@example.com' });
assert.ok((await contacts.update({ Id: one.id, FirstName: 'f' })).success);
assert.equal((await contacts.retrieve(one.id)).Name, 'f js');
assert.equal((await contacts.upsert({ CatalogUserId__c: 'js1', LastName: 'up' }, 'CatalogUserId__c')).created, true);
assert.deepEqual((await contacts.create([{ LastName: 'a' }, { FirstName: 'b' }])).map((r) => r.success), [true, false]);
assert.deepEqual((await contacts.upsert([{ CatalogUserId__c: 'js1', LastName: 'x' }, { CatalogUserId__c: 'js2', LastName: 'y' }], 'CatalogUserId__c')).map((r) => r.created), [false, true]);
assert.ok((await contacts.destroy([one.id]))[0].success);
await assert.rejects(contacts.create({ FirstName: 'b' }), (e) => e.errorCode === 'REQUIRED_FIELD_MISSING');
await assert.rejects(conn.query('SELECT Foo FROM Contact'), (e) => e.errorCode === 'INVALID_FIELD' && e.message.includes('ERROR at Row:1:Column:8'));

conn.bulk2.pollInterval = 50;
conn.bulk2.pollTimeout = 30000;
const run = (operation, input, more) => conn.bulk2.loadAndWaitForResults({ object: 'Contact', operation, input, ...more });
let r = await run('insert', [{ LastName: 'b1', FirstName: '' }, { FirstName: 'x' }]);
assert.equal(r.successfulResults.length, 1);
assert.equal(r.failedResults[0].sf__Error, 'REQUIRED_FIELD_MISSING:Required fields are missing: [LastName]:LastName --');
r = await run('upsert', [{ CatalogUserId__c: 'js1', LastName: 'k' }, { CatalogUserId__c: 'js9', LastName: 'kk' }], { externalIdFieldName: 'CatalogUserId__c' });
assert.deepEqual(r.successfulResults.map((x) => x.sf__Created).sort(), ['false', 'true']);
r = await run('update', [{ Id: r.successfulResults[0].sf__Id, LastName: 'new' }]);
assert.equal(r.successfulResults.length, 1);
const found = await (await conn.bulk2.query("SELECT Id, CatalogUserId__c FROM Contact WHERE CatalogUserId__c LIKE 'js%'")).toArray();
assert.equal(found.length, 3);
r = await run('delete', found.map((x) => ({ Id: x.Id })));
assert.equal(r.successfulResults.length, 3);

assert.equal((await conn.limits()).DailyApiRequests.Max, 100000);
await conn.logout();
