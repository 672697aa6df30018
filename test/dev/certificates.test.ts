import assert from 'node:assert/strict'
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { createServer } from 'node:https'
import { test } from 'node:test'
import { Agent, fetch } from 'undici'
import { createClientCertificate, createDevCertificates } from '../../dev/certificates.js'
import { close, listen } from '../../dev/listen.js'

test('the server certificate is for localhost and 127.0.0.1, and for no other name', async () => {
	const { ca, cert, key } = await createDevCertificates()
	const leaf = new X509Certificate(cert)
	assert.equal(leaf.subjectAltName, 'DNS:localhost, IP Address:127.0.0.1')
	assert.equal(leaf.ca, false)
	assert.ok(leaf.verify(new X509Certificate(ca).publicKey))
	assert.ok(leaf.checkPrivateKey(createPrivateKey(key)))
})

test('a client that trusts the authority, and only such a client, gets through', async () => {
	const { ca, cert, key } = await createDevCertificates()
	const server = createServer({ cert, key }, (_request, response) => response.end('hello'))
	const address = await listen(server, { host: 'localhost', port: 0, variable: 'NONE' })
	const port = address.split(':')[1]
	const trusting = new Agent({ connect: { ca } })
	const other = new Agent({ connect: { ca: (await createDevCertificates()).ca } })
	try {
		for (const host of ['localhost', '127.0.0.1']) {
			const response = await fetch(`https://${host}:${port}/`, { dispatcher: trusting })
			assert.equal(await response.text(), 'hello')
		}
		await assert.rejects(fetch(`https://localhost:${port}/`, { dispatcher: other }))
	} finally {
		await Promise.all([trusting.destroy(), other.destroy(), close(server)])
	}
})

test('the authority can vouch for loopback names only, and has no key left', async () => {
	const certificates = await createDevCertificates()
	const authority = new X509Certificate(certificates.ca)
	assert.equal(authority.ca, true)
	// Name constraints, 2.5.29.30, in DER.
	assert.ok(authority.raw.includes(Buffer.from([0x06, 0x03, 0x55, 0x1d, 0x1e, 0x01, 0x01, 0xff])))
	assert.deepEqual(Object.keys(certificates).sort(), ['ca', 'cert', 'key'])
	assert.equal(authority.checkPrivateKey(createPrivateKey(certificates.key)), false)
})

test('a client certificate has the thumbprint of its DER and the key of its JWK', async () => {
	const { certificate, privateKey, publicJwk, thumbprintSha256 } = await createClientCertificate()
	const parsed = new X509Certificate(certificate)
	assert.equal(thumbprintSha256, parsed.fingerprint256.replaceAll(':', ''))
	assert.ok(parsed.checkPrivateKey(createPrivateKey(privateKey)))
	assert.equal(publicJwk.n, parsed.publicKey.export({ format: 'jwk' }).n)
	assert.equal(publicJwk.d, undefined)
})
