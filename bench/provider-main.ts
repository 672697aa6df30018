import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import { performance } from 'node:perf_hooks'
import { listen } from '../dev/listen.js'
import {
	clientId,
	grantedScopes,
	peopleCount,
	signIdToken,
	signingKeyId,
	tenantId,
	tokensOf,
} from './people.js'
import { answerCalls } from './process.js'

/**
 * A canned provider in a process of its own. It answers a refresh from a text that was made beforehand, after a
 * delay, so that what is measured is its clients. For a sign-in only the id_token is made and signed anew.
 */
const counts = { posts: 0, refused: 0 }
const answers: Buffer[] = []
/** Answers to a sign-in, before and after the id_token. */
const redemptions: { readonly before: string; readonly after: string }[] = []
let issuer = ''
let startedAt = 0
let signingKey: KeyObject
let keys = ''
const tokenPath = `/${tenantId}/oauth2/v2.0/token`
const configurationPath = `/${tenantId}/v2.0/.well-known/openid-configuration`
const keysPath = `/${tenantId}/discovery/v2.0/keys`
let configuration = ''
let latencyMs = 0
let since = performance.eventLoopUtilization()

const calls = {
	async start({ key, cert, ...given }: { key: string; cert: string; startedAt: number }) {
		startedAt = given.startedAt
		const pair = generateKeyPairSync('rsa', { modulusLength: 2048 })
		signingKey = pair.privateKey
		keys = JSON.stringify({
			keys: [{ ...pair.publicKey.export({ format: 'jwk' }), kid: signingKeyId, use: 'sig', alg: 'RS256' }],
		})
		const server = createServer({ key, cert, keepAliveTimeout: 60_000 }, handle)
		const host = await listen(server, { host: 'localhost', port: 0, variable: 'PORT' })
		const origin = `https://${host}`
		const authority = `${origin}/${tenantId}`
		issuer = `${authority}/v2.0`
		configuration = JSON.stringify({
			issuer,
			authorization_endpoint: `${authority}/oauth2/v2.0/authorize`,
			token_endpoint: `${origin}${tokenPath}`,
			end_session_endpoint: `${authority}/oauth2/v2.0/logout`,
			jwks_uri: `${origin}${keysPath}`,
		})
		for (let person = 0; person < peopleCount; person++) {
			answers.push(Buffer.from(JSON.stringify(answerFor(person, 'refreshed'))))
			const [before = '', after = ''] = JSON.stringify({
				...answerFor(person, 'redeemed'),
				id_token: '|',
			}).split('|')
			redemptions.push({ before, after })
		}
		return { origin, host, authority, authorityMetadata: configuration }
	},
	/** Begins a count. */
	reset(params: { latencyMs: number }) {
		latencyMs = params.latencyMs
		counts.posts = counts.refused = 0
		since = performance.eventLoopUtilization()
	},
	count: () => ({ ...counts, busy: performance.eventLoopUtilization(since).utilization }),
}

export type ProviderCalls = typeof calls

function handle(request: IncomingMessage, response: ServerResponse): void {
	if (request.method === 'POST' && request.url?.startsWith(tokenPath)) {
		let body = ''
		request.setEncoding('latin1')
		request.on('data', (chunk: string) => {
			body += chunk
		})
		request.on('end', () => {
			counts.posts++
			const answer = answerTo(body)
			if (!answer) counts.refused++
			const send = () =>
				answer ? reply(response, 200, answer) : reply(response, 400, '{"error":"invalid_request"}')
			if (latencyMs > 0) setTimeout(send, latencyMs)
			else send()
		})
	} else if (request.url === keysPath) reply(response, 200, keys)
	else if (request.url === configurationPath) reply(response, 200, configuration)
	else reply(response, 404, '{}')
}

/** To a client that names itself and shows a credential; what that is worth is not looked at. */
function answerTo(body: string): Buffer | string | undefined {
	const named = body.includes(`client_id=${clientId}`)
	const proven = body.includes('client_assertion=') || body.includes('client_secret=')
	if (!named || !proven) return undefined
	if (body.includes('grant_type=refresh_token'))
		return answers[Number(/(?:^|&)refresh_token=(\d+)\./.exec(body)?.[1])]
	if (!body.includes('grant_type=authorization_code') || !body.includes('code_verifier=')) return undefined
	const [, person, nonce] = /(?:^|&)code=(\d+)\.([\w-]+)/.exec(body) ?? []
	const redemption = redemptions[Number(person)]
	if (!redemption || nonce === undefined) return undefined
	const idToken = signIdToken(Number(person), nonce, issuer, startedAt, signingKey)
	return redemption.before + idToken + redemption.after
}

function answerFor(person: number, generation: 'refreshed' | 'redeemed') {
	const tokens = tokensOf(person, generation, issuer, startedAt)
	return {
		token_type: 'Bearer',
		scope: grantedScopes,
		expires_in: 3600,
		ext_expires_in: 7200,
		access_token: tokens.accessToken,
		refresh_token: tokens.refreshToken,
		id_token: tokens.idToken,
		client_info: tokens.clientInfo,
	}
}

function reply(response: ServerResponse, status: number, body: Buffer | string): void {
	response.writeHead(status, {
		'content-type': 'application/json; charset=utf-8',
		'content-length': Buffer.byteLength(body),
		'cache-control': 'no-store',
	})
	response.end(body)
}

answerCalls(calls)
