import { writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import type { JWTPayload } from 'jose'
import { createDevCertificates } from '../../dev/certificates.js'
import { close } from '../../dev/listen.js'
import { createSigningKey, publicKeys, signClaims } from '../../dev/signing-keys.js'

export interface CannedAnswer {
	readonly status: number
	readonly headers?: Readonly<Record<string, string>>
	readonly body: string | Buffer
}

/** An https server in the provider's place: it publishes keys, and answers token requests with what it is given. */
export interface CannedProvider {
	/** Of people of any organization. */
	readonly authority: string
	issuerOf(tenantId: string): string
	/** Its OpenID configuration. */
	readonly metadata: string
	readonly host: string
	readonly ca: string
	readonly caFile: string
	/** Bodies of the token requests that came. */
	readonly asked: string[]
	/** How it answers token requests from now on. */
	answer(answer: CannedAnswer): void
	sign(claims: JWTPayload, key?: 'foreign' | 'none'): Promise<string>
	close(): Promise<void>
}

export async function createCannedProvider(): Promise<CannedProvider> {
	const [tls, key] = await Promise.all([createDevCertificates(), createSigningKey()])
	const asked: string[] = []
	const refusal: CannedAnswer = { status: 400, body: '{"error":"invalid_grant"}' }
	let next = refusal
	const server = createServer({ key: tls.key, cert: tls.cert }, async (request, response) => {
		const body = (await buffer(request)).toString()
		if (request.method === 'POST') asked.push(body)
		const {
			status,
			headers,
			body: text,
		} = request.method === 'POST'
			? next
			: { status: 200, headers: {}, body: JSON.stringify(publicKeys([key])) }
		response.writeHead(status, headers).end(text)
	})
	server.keepAliveTimeout = 60_000
	await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
	const host = `localhost:${(server.address() as AddressInfo).port}`
	const authority = `https://${host}/organizations`
	const folder = await mkdtemp(join(tmpdir(), 'koa-msal-fuzz-'))
	const caFile = join(folder, 'ca.pem')
	writeFileSync(caFile, tls.ca)
	const issuerOf = (tenantId: string) => `https://${host}/${tenantId}/v2.0`
	return {
		authority,
		issuerOf,
		metadata: JSON.stringify({
			issuer: issuerOf('{tenantid}'),
			authorization_endpoint: `${authority}/oauth2/v2.0/authorize`,
			token_endpoint: `${authority}/oauth2/v2.0/token`,
			jwks_uri: `${authority}/keys`,
			end_session_endpoint: `${authority}/logout`,
		}),
		host,
		ca: tls.ca,
		caFile,
		asked,
		answer(answer) {
			next = answer
		},
		sign: (claims, forged) => signClaims(claims, key, forged),
		async close() {
			await close(server)
			await rm(folder, { recursive: true })
		},
	}
}
