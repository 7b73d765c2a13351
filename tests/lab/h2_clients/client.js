// SPDX-License-Identifier: GPL-2.0-or-later
// node client.js CA ADDRESS URL...: GETs of all URLs, of one site, at once on one HTTP/2 connection to ADDRESS. Prints for each, in
// the order of the URLs: status, bytes, SHA-256.
'use strict';
const crypto = require('crypto'), fs = require('fs'), http2 = require('http2'), tls = require('tls');

const [ca, address, ...urls] = process.argv.slice(2);
const site = new URL(urls[0]);
const session = http2.connect(site.origin, {
	createConnection: () => tls.connect({
		host: address, port: site.port, servername: site.hostname, ca: fs.readFileSync(ca), ALPNProtocols: ['h2'],
	}),
});
session.on('error', (error) => { console.error(error.message); process.exit(1); });

const answers = urls.map((url) => new Promise((resolve, reject) => {
	const digest = crypto.createHash('sha256');
	const { pathname, search } = new URL(url);
	const request = session.request({ ':path': pathname + search });
	let status = 0, bytes = 0;
	request.on('response', (headers) => { status = headers[':status']; });
	request.on('data', (data) => { digest.update(data); bytes += data.length; });
	request.on('end', () => resolve(`${status} ${bytes} ${digest.digest('hex')}`));
	request.on('error', reject);
	request.end();
}));

Promise.all(answers).then((lines) => {
	console.log(lines.join('\n'));
	session.close();
}, (error) => { console.error(error.message); process.exit(1); });
