import assert from 'node:assert/strict'
import { createHash, createSecretKey } from 'node:crypto'
import { Agent, get, type IncomingMessage } from 'node:http'
import { after, before, describe, it, mock } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { clientIds } from '../../dev/directory.js'
import { redisTokenStore } from '../../src/index.js'
import { createSealer } from '../../src/sealing.js'
import { type Application, createApplication, createWorld, type World } from '../support/application.js'
import { startRedis, type TestRedis } from '../support/redis.js'

const secret = 'a test secret of more than 32 bytes: 0123456789'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** A text, and the bytes that it says, as somebody may have written them. */
function spellingsOf(text: string): string[] {
	const spellings = [Buffer.from(text), Buffer.from(text, 'base64url')].flatMap((bytes) => [
		...(['hex', 'base64', 'base64url'] as const).map((encoding) => bytes.toString(encoding)),
		bytes.toString('hex').toUpperCase(),
	])
	return [text, ...spellings]
}

describe('a flood of sign-ins that nobody ends', () => {
	let world: World
	let redis: TestRedis
	let app: Application
	const agent = new Agent({ keepAlive: true, maxSockets: 16 })
	before(async () => {
		;[world, redis] = await Promise.all([createWorld(), startRedis()])
		app = await createApplication(world, { secrets: [secret], store: redisTokenStore({ path: redis.path }) })
	})
	after(async () => {
		agent.destroy()
		await app.close()
		await redis.stop()
		await world.close()
	})

	const begin = () =>
		new Promise<IncomingMessage>((resolve, reject) => {
			get(`${app.origin}/user/login/orders?page=2`, { agent }, (answer) => {
				answer.resume()
				answer.once('end', () => resolve(answer))
			}).once('error', reject)
		})

	async function flood(times: number, look: (answer: IncomingMessage) => void): Promise<void> {
		let left = times
		const one = async () => {
			while (left-- > 0) look(await begin())
		}
		await Promise.all(Array.from({ length: 16 }, one))
	}

	it('A7: each of 1,100 has a challenge of its own, and its verifier is nowhere but under the seal', async () => {
		const sealer = createSealer([createSecretKey(Buffer.from(secret))], clientIds.web)
		const written: string[] = []
		for (const stream of [process.stdout, process.stderr]) {
			const write = stream.write.bind(stream) as (...all: unknown[]) => boolean
			mock.method(stream, 'write', (chunk: unknown, ...rest: unknown[]) => {
				written.push(String(chunk))
				return write(chunk, ...rest)
			})
		}
		const verifiers: string[] = []
		const seen = { state: new Set(), nonce: new Set(), code_challenge: new Set() }
		await flood(1100, ({ statusCode, headers }) => {
			assert.equal(statusCode, 303)
			const { location = '', 'set-cookie': [cookie = '', ...more] = [] } = headers
			assert.deepEqual(more, [])
			const { searchParams } = new URL(location)
			for (const [name, values] of Object.entries(seen)) {
				assert.equal(searchParams.getAll(name).length, 1)
				values.add(searchParams.get(name))
			}
			assert.deepEqual(searchParams.getAll('code_challenge_method'), ['S256'])
			const [, name = '', value = ''] = /^([^=]+)=([^;]+);/.exec(cookie) ?? []
			const opened = sealer.open('transaction', name, value)
			assert.ok(opened.ok)
			const { codeVerifier } = JSON.parse(opened.plaintext) as { codeVerifier: string }
			assert.ok(codeVerifier.length >= 43 && codeVerifier.length <= 128)
			const challenge = createHash('sha256').update(codeVerifier).digest('base64url')
			assert.equal(searchParams.get('code_challenge'), challenge)
			const shown = JSON.stringify(headers) + Buffer.from(value, 'base64url').toString('latin1')
			for (const hidden of spellingsOf(codeVerifier)) assert.ok(!shown.includes(hidden))
			verifiers.push(codeVerifier)
		})
		mock.restoreAll()
		for (const [name, values] of Object.entries(seen)) assert.equal(values.size, 1100, name)
		assert.equal(new Set(verifiers).size, 1100)
		const all = written.join() + app.errors.map((error) => error.stack).join()
		assert.ok(!verifiers.flatMap(spellingsOf).some((hidden) => all.includes(hidden)))
	})

	it('B13: 10,000 leave no key in Redis, and no memory behind', async () => {
		const monitor = await redis.monitor()
		let [count, longest] = [0, 0]
		const look = ({ statusCode, headers }: IncomingMessage) => {
			assert.equal(statusCode, 303)
			assert.match(headers.location ?? '', /[?&]state=[\w-]{43}(&|$)/)
			count++
			const [cookie = ''] = headers['set-cookie'] ?? []
			assert.match(cookie, /; Max-Age=900;/)
			longest = Math.max(longest, cookie.length)
		}
		const measure = () => {
			collect()
			const { rss, heapUsed, external } = process.memoryUsage()
			return { rss: rss / 1_048_576, heap: heapUsed / 1_048_576, external: external / 1_048_576 }
		}
		const measured: ReturnType<typeof measure>[] = []
		for (let thousand = 0; thousand < 10; thousand++) {
			await flood(1000, look)
			measured.push(measure())
		}
		const [before, after] = [measured[2], measured[9]] as const
		assert.ok(before && after)
		assert.equal(count, 10_000)
		assert.ok(longest < 1024, `${longest} bytes`)
		assert.deepEqual(await monitor.commands(), [], 'Redis was not even asked')
		monitor.stop()
		assert.deepEqual(await redis.client().keys('*'), [])
		// 150 bytes for each sign-in would show; buffers are not in the heap.
		for (const [kind, most] of [
			['heap', 1],
			['external', 1],
			['rss', 24],
		] as const)
			assert.ok(after[kind] - before[kind] < most, `${kind}: ${before[kind]} to ${after[kind]} MiB`)
	})
})
