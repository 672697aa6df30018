import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { connect } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import { parseMonitorLine, readable, startRedis, type TestRedis } from './redis.js'

function isAlive(pid: number): boolean {
	try {
		return process.kill(pid, 0)
	} catch {
		return false
	}
}

describe('startRedis', () => {
	let redis: TestRedis
	before(async () => {
		redis = await startRedis()
	})
	after(() => redis.stop())

	it('is reached by its connection and by its url', async () => {
		for (const client of [new Redis(redis.connection as { path: string }), new Redis(redis.url)]) {
			assert.equal(await client.ping(), 'PONG')
			client.disconnect()
		}
	})

	it('listens on no TCP port unless asked', async () => {
		assert.deepEqual(await redis.client().config('GET', 'port'), ['port', '0'])
		assert.equal(redis.port, undefined)
	})

	it('shows keys, types and values of every data type in a dump', async () => {
		const client = redis.client()
		await client.flushall()
		await client.set('a string', '{"name":"é"}', 'PX', 60_000)
		await client.set(Buffer.from([0x6b, 0xff]), Buffer.from([0x00, 0xfe, 0x41]))
		await client.rpush('list', 'one', 'two')
		await client.sadd('set', 'z', 'y')
		await client.zadd('zset', 1, 'low', 2.5, 'high')
		await client.hset('hash', { b: '2', a: '1' })
		await client.xadd('stream', '1-1', 'field', 'value')
		await client.pfadd('hll', 'x')
		await client.setbit('bits', 1, 1)
		await client.geoadd('geo', 0, 0, 'origin')
		const other = redis.client({ db: 3 })
		await other.set('elsewhere', 'yes')
		const dump = await redis.dump()
		const hll = dump.find((line) => line.startsWith('hll'))
		assert.match(hll ?? '', /^hll \(string\) = HYLL/)
		assert.deepEqual(
			dump.filter((line) => line !== hll),
			[
				'a string (string) = {"name":"é"}',
				'bits (string) = @',
				'geo (zset) = origin: 3377699720527872',
				'hash (hash) = a: 1, b: 2',
				'k\\xff (string) = \\x00\\xfeA',
				'list (list) = one, two',
				'set (set) = y, z',
				'stream (stream) = [1-1, [field, value]]',
				'zset (zset) = low: 1, high: 2.5',
				'db3 elsewhere (string) = yes',
			],
		)
		assert.deepEqual(await redis.dump(), dump)
		await client.flushall()
		assert.deepEqual(await redis.dump(), [])
	})

	it('shows more keys than one SCAN answers', async () => {
		const client = redis.client()
		await client.mset(...Array.from({ length: 2_500 }, (_, n) => [`k${n}`, String(n)]).flat())
		assert.equal((await redis.dump()).length, 2_500)
		await client.flushall()
	})

	it('reports the commands that clients sent, and only those since it was asked', async () => {
		const client = redis.client()
		await client.set('before', '1')
		const monitor = await redis.monitor()
		await client.set('quo"te', Buffer.from('back\\slash\r\né'))
		assert.deepEqual(await monitor.commands(), [['set', 'quo"te', 'back\\slash\r\né']])
		await client.eval('return redis.call("get", KEYS[1])', 1, 'before')
		const [, ...later] = await monitor.commands()
		assert.deepEqual(later, [['eval', 'return redis.call("get", KEYS[1])', '1', 'before']])
		monitor.stop()
		await client.flushall()
	})

	it('breaks connections when killed and comes back empty at the same address', async () => {
		const client = redis.client({ retryStrategy: () => 10 })
		await client.set('lost', '1')
		const { pid } = redis
		await redis.kill()
		assert.equal(isAlive(pid), false)
		await assert.rejects(redis.client({ maxRetriesPerRequest: 0, retryStrategy: () => null }).get('lost'))
		await assert.rejects(redis.dump())
		await redis.restart()
		assert.notEqual(redis.pid, pid)
		assert.equal(await client.get('lost'), null)
	})

	it('restarts a server that still runs', async () => {
		const { pid } = redis
		await redis.restart()
		assert.equal(isAlive(pid), false)
		assert.equal(await redis.client().ping(), 'PONG')
	})
})

describe('startRedis with options', () => {
	it('listens on a free TCP port of the loopback and keeps it over a restart', async () => {
		const redis = await startRedis({ tcp: true })
		try {
			assert.equal(redis.url, `redis://127.0.0.1:${redis.port}`)
			await redis.restart()
			const client = new Redis(redis.url)
			assert.equal(await client.ping(), 'PONG')
			client.disconnect()
		} finally {
			await redis.stop()
		}
	})

	it('asks for the password that its connection, url, dump and monitor carry', async () => {
		const redis = await startRedis({ password: 'a/b?c' })
		try {
			const stranger = redis.client({ password: '' })
			await assert.rejects(stranger.get('x'), /NOAUTH/)
			const client = new Redis(redis.url)
			await client.set('x', '1')
			const monitor = await redis.monitor()
			await client.get('x')
			client.disconnect()
			assert.deepEqual(await redis.dump(), ['x (string) = 1'])
			assert.deepEqual((await monitor.commands())[0], ['get', 'x'])
		} finally {
			await redis.stop()
		}
	})

	it('says what redis-server said when it does not start', async () => {
		await assert.rejects(startRedis({ args: ['--maxmemory', 'lots'] }), /redis-server did not start/)
	})

	it('leaves neither a process nor a folder behind', async () => {
		const redis = await startRedis()
		const { pid, path } = redis
		redis.client()
		await redis.stop()
		assert.equal(isAlive(pid), false)
		assert.equal(existsSync(path), false)
	})

	it('ends with a process that was killed', async () => {
		const support = fileURLToPath(new URL('./redis.js', import.meta.url))
		const script = `const { startRedis } = await import(${JSON.stringify(support)})
			console.log((await startRedis()).path)
			setInterval(() => {}, 1000)`
		const owner = spawn(process.execPath, ['--input-type=module', '-e', script], {
			stdio: ['ignore', 'pipe', 'inherit'],
		})
		const [line] = (await once(owner.stdout, 'data')) as [Buffer]
		const path = line.toString().trim()
		const connection = connect(path)
		await once(connection, 'connect')
		owner.kill('SIGKILL')
		await once(connection, 'close')
		assert.equal(existsSync(path), false)
	})
})

describe('what is shown', () => {
	it('keeps every byte that is not text visible', () => {
		assert.equal(readable(Buffer.from('día\n')), 'día\n')
		assert.equal(readable(Buffer.from([0x41, 0x80, 0x0a])), 'A\\x80\\x0a')
	})

	it('reads a line of MONITOR with every escape', () => {
		assert.deepEqual(parseMonitorLine('1.2 [0 unix:/t/r] "set" "" "a\\"b\\\\" "\\n\\r\\t\\a\\b\\xc3\\xa9"'), [
			'set',
			'',
			'a"b\\',
			'\n\r\t\x07\bé',
		])
	})
})
