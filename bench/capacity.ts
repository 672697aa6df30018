import { readFileSync } from 'node:fs'
import { performance } from 'node:perf_hooks'
import { Agent, request } from 'undici'
import { clientId, codeOf, peopleCount, tokensOf } from './people.js'
import type { RunningProcess } from './process.js'
import type { ProviderCalls } from './provider-main.js'
import type { World } from './scenario.js'

/**
 * Answers per second that the canned provider is good for at least, without its delay: the client that asks for
 * them shares the machine, and is the busier of the two.
 */
export async function measureCapacity(
	provider: RunningProcess<ProviderCalls>,
	{ authority, caFile, startedAt }: World,
	grant: 'refresh' | 'login',
	milliseconds: number,
): Promise<number> {
	const dispatcher = new Agent({ connect: { ca: readFileSync(caFile, 'utf8') }, connections: 64 })
	const url = `${authority}/oauth2/v2.0/token`
	const headers = { 'content-type': 'application/x-www-form-urlencoded' }
	const grantOf = (person: number) =>
		grant === 'refresh'
			? {
					grant_type: 'refresh_token',
					refresh_token: tokensOf(person, 'seeded', `${authority}/v2.0`, startedAt).refreshToken,
				}
			: { grant_type: 'authorization_code', code: codeOf(person, 'nonce'), code_verifier: 'v'.repeat(43) }
	const bodies = Array.from({ length: 64 }, (_, person) =>
		new URLSearchParams({
			client_id: clientId,
			client_assertion: 'a'.repeat(900),
			...grantOf(person % peopleCount),
		}).toString(),
	)
	const run = async (duration: number) => {
		let answered = 0
		const end = performance.now() + duration
		await Promise.all(
			bodies.map(async (body) => {
				while (performance.now() < end) {
					const answer = await request(url, { dispatcher, method: 'POST', headers, body })
					const { byteLength } = await answer.body.arrayBuffer()
					if (answer.statusCode !== 200 || byteLength < 4_500)
						throw new Error(`the canned provider answered ${answer.statusCode} with ${byteLength} bytes`)
					answered++
				}
			}),
		)
		return answered
	}
	await provider.ask('reset', { latencyMs: 0 })
	const warm = await run(milliseconds / 2)
	const started = performance.now()
	const answered = await run(milliseconds)
	const seconds = (performance.now() - started) / 1000
	const { posts } = await provider.ask('count', undefined)
	await dispatcher.close()
	if (posts !== warm + answered) throw new Error(`the provider counted ${posts} calls of ${warm + answered}`)
	return answered / seconds
}
