import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis, type RedisOptions } from 'ioredis'
import { findProgram } from './programs.js'

export interface StartRedisOptions {
	/** Also listen on a free TCP port of 127.0.0.1; `connection` and `url` then point there. */
	readonly tcp?: boolean
	/** `requirepass`; `connection` and `url` carry it. */
	readonly password?: string
	/** Further arguments of redis-server, such as `['--maxmemory', '2mb']`. */
	readonly args?: readonly string[]
	/** Lines of a configuration file, which Sentinel wants: it keeps in it what it has learnt. */
	readonly config?: readonly string[]
}

/** Where the server listens, as a part of ioredis's options. */
export type RedisAddress =
	| { readonly path: string; readonly password?: string }
	| { readonly host: string; readonly port: number; readonly password?: string }

/** ioredis makes `replyMapping` part of the client's type, so this plain `Redis` goes without it. */
export type ClientOptions = Omit<RedisOptions, 'replyMapping'>

export interface RedisMonitor {
	/**
	 * Every command that a client has sent since `monitor()` resolved, with its arguments. Commands
	 * that were answered before this call are in it for certain.
	 */
	commands(): Promise<string[][]>
	stop(): void
}

export interface TestRedis {
	/** The unix socket; it works with `{ tcp: true }` too. */
	readonly path: string
	/** What `new Redis(…)` takes as its options. */
	readonly connection: RedisAddress
	/** What `new Redis(…)` takes as a string: ioredis reads an absolute path as a unix socket. */
	readonly url: string
	/** The TCP port, with `{ tcp: true }`. */
	readonly port: number | undefined
	/** The running server's process id. */
	readonly pid: number
	/** A new connection, closed by `stop()` at the latest. */
	client(options?: ClientOptions): Redis
	/** Every key of every database as `key (type) = value`, sorted: equal dumps mean equal data. */
	dump(): Promise<string[]>
	monitor(): Promise<RedisMonitor>
	/** `kill -9`: connections break, the data are lost. */
	kill(): Promise<void>
	/** Starts the server again at the same address, empty; kills it first if it still runs. */
	restart(): Promise<void>
	/** Ends the server and every connection that `client()` made and removes the folder. */
	stop(): Promise<void>
}

/** The bytes as text; bytes that are not UTF-8 as `\xNN`, so that nothing disappears. */
export function readable(bytes: Buffer): string {
	const text = bytes.toString('utf8')
	if (Buffer.from(text, 'utf8').equals(bytes)) return text
	return Array.from(bytes, (byte) =>
		byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`,
	).join('')
}

export async function freePort(): Promise<number> {
	const server = net.createServer()
	await new Promise<void>((done, fail) => server.once('error', fail).listen(0, '127.0.0.1', done))
	const { port } = server.address() as net.AddressInfo
	await new Promise((done) => server.close(done))
	return port
}

/** Whether the server answers; NOAUTH is an answer too, LOADING is not. */
function answers(path: string): Promise<boolean> {
	return new Promise((done) => {
		const socket = net.connect(path, () => socket.write('PING\r\n'))
		const end = (ready: boolean): void => {
			socket.destroy()
			done(ready)
		}
		socket.once('data', (reply) => end(/^(?:\+PONG|-NOAUTH)/.test(reply.toString())))
		socket.once('error', () => end(false))
		socket.once('close', () => done(false))
	})
}

function exited(child: ChildProcess): Promise<void> {
	if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve()
	child.ref()
	return new Promise((done) => child.once('exit', () => done()))
}

/**
 * Kills the server when this process is gone, however it went: an exit handler does not run on
 * SIGKILL or SIGTERM, but the kernel always closes the pipe that the shell reads from.
 */
function watchdog(pid: number, folder: string): ChildProcess {
	const script = 'cat >/dev/null; rm -rf "$2"; kill -9 "$1"'
	const child = spawn('/bin/sh', ['-c', script, 'sh', String(pid), folder], {
		stdio: ['pipe', 'ignore', 'ignore'],
		detached: true,
	})
	child.unref()
	;(child.stdin as net.Socket | null)?.unref()
	return child
}

function lastLines(file: string): string {
	try {
		return readFileSync(file, 'utf8').trim().split('\n').slice(-5).join('\n')
	} catch {
		return '(it left no log)'
	}
}

/** How a type's values are read, how many items make one entry, and whether their order means anything. */
const READERS: Readonly<
	Record<
		string,
		{ command: (key: Buffer) => [string, ...(string | Buffer)[]]; step: 1 | 2; ordered: boolean }
	>
> = {
	string: { command: (key) => ['GET', key], step: 1, ordered: true },
	list: { command: (key) => ['LRANGE', key, '0', '-1'], step: 1, ordered: true },
	set: { command: (key) => ['SMEMBERS', key], step: 1, ordered: false },
	zset: { command: (key) => ['ZRANGE', key, '0', '-1', 'WITHSCORES'], step: 2, ordered: true },
	hash: { command: (key) => ['HGETALL', key], step: 2, ordered: false },
	stream: { command: (key) => ['XRANGE', key, '-', '+'], step: 1, ordered: true },
}

function shown(reply: unknown): string {
	if (Buffer.isBuffer(reply)) return readable(reply)
	return Array.isArray(reply) ? `[${reply.map(shown).join(', ')}]` : String(reply)
}

function entries(reply: unknown, step: 1 | 2, ordered: boolean): string {
	if (!Array.isArray(reply)) return shown(reply)
	const list: string[] = []
	for (let at = 0; at < reply.length; at += step) {
		list.push(
			reply
				.slice(at, at + step)
				.map(shown)
				.join(': '),
		)
	}
	return (ordered ? list : list.sort()).join(', ')
}

async function dumpKey(client: Redis, key: Buffer): Promise<string | undefined> {
	const type = await client.type(key)
	if (type === 'none') return undefined // it ended between SCAN and here
	const reader = READERS[type]
	if (reader === undefined) {
		// A module's type: its serialised form still shows every stored string.
		return `${readable(key)} (${type}) = ${shown(await client.callBuffer('DUMP', key))}`
	}
	const [command, ...args] = reader.command(key)
	const reply = await client.callBuffer(command, ...args)
	return `${readable(key)} (${type}) = ${entries(reply, reader.step, reader.ordered)}`
}

async function dumpDatabase(client: Redis): Promise<string[]> {
	const keys = new Map<string, Buffer>()
	let cursor = '0'
	do {
		const [next, found] = (await client.callBuffer('SCAN', cursor, 'COUNT', '1000')) as [Buffer, Buffer[]]
		for (const key of found) keys.set(key.toString('latin1'), key)
		cursor = next.toString()
	} while (cursor !== '0')
	const lines = await Promise.all([...keys.values()].map((key) => dumpKey(client, key)))
	return lines.filter((line) => line !== undefined).sort()
}

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', a: '\x07', b: '\b' }

/** One line of MONITOR, `+1795471165.568353 [0 unix:/tmp/r.sock] "set" "a\"b" "\x01"`, as its arguments. */
export function parseMonitorLine(line: string): string[] {
	return Array.from(line.matchAll(/"((?:[^"\\]|\\.)*)"/g), ([, quoted = '']) =>
		readable(
			Buffer.from(
				quoted.replace(/\\(?:x([0-9a-f]{2})|(.))/g, (_, hex: string | undefined, char: string) =>
					hex === undefined ? (ESCAPES[char] ?? char) : String.fromCharCode(Number.parseInt(hex, 16)),
				),
				'latin1',
			),
		),
	)
}

async function startMonitor(redis: TestRedis, password: string | undefined): Promise<RedisMonitor> {
	const socket = net.connect(redis.path)
	socket.unref()
	const lines: string[] = []
	let changed: () => void = () => {}
	let failure: Error | undefined
	let rest = ''
	const end = (error?: Error): void => {
		failure ??= error ?? new Error('the monitored server closed the connection')
		changed()
	}
	socket.setEncoding('latin1').on('data', (chunk: string) => {
		const whole = (rest + chunk).split('\r\n')
		rest = whole.pop() ?? ''
		lines.push(...whole)
		changed()
	})
	socket.on('error', end).on('close', () => end())
	const until = async (condition: () => boolean): Promise<void> => {
		socket.ref()
		while (!condition()) {
			if (failure !== undefined) throw failure
			await new Promise<void>((done) => {
				changed = done
			})
		}
		socket.unref()
	}
	if (password !== undefined) socket.write(`*2\r\n$4\r\nAUTH\r\n$${password.length}\r\n${password}\r\n`)
	socket.write('MONITOR\r\n')
	const greetings = password === undefined ? 1 : 2
	await until(() => lines.length >= greetings)
	if (lines.slice(0, greetings).some((line) => line !== '+OK')) throw new Error(`MONITOR: ${lines.join(' ')}`)
	const markers = redis.client()
	let seen = greetings
	const commands: string[][] = []
	return {
		commands: async () => {
			const marker = randomUUID()
			await markers.echo(marker)
			await until(() => lines.some((line, at) => at >= seen && line.includes(marker)))
			const last = lines.findIndex((line, at) => at >= seen && line.includes(marker))
			for (const line of lines.slice(seen, last)) {
				// What a script does inside the server is in the script's own arguments.
				if (/^\S+ \[\d+ lua\] /.test(line)) continue
				const args = parseMonitorLine(line)
				// What a connection says about itself when it opens is ioredis's, nobody's data; who listens for sign-outs
				// says so every second.
				if (!/^(?:hello|info|client|command|subscribe)$/i.test(args[0] ?? '')) commands.push(args)
			}
			seen = last + 1
			return commands.slice()
		},
		stop: () => {
			markers.disconnect()
			socket.destroy()
		},
	}
}

/** A redis-server of the test's own on a unix socket in a temporary folder, without persistence. */
export async function startRedis(options: StartRedisOptions = {}): Promise<TestRedis> {
	const program = findProgram('redis-server')
	if (program === undefined) throw new Error('redis-server is not installed: see test/support/programs.ts')
	const { tcp = false, password, args = [], config } = options
	const folder = mkdtempSync(join(tmpdir(), 'koa-msal-redis-'))
	const path = join(folder, 'redis.sock')
	const log = join(folder, 'redis.log')
	const file = join(folder, 'redis.conf')
	if (config) writeFileSync(file, config.map((line) => `${line}\n`).join(''))
	const clients = new Set<Redis>()
	const monitors = new Set<RedisMonitor>()
	let port = tcp ? await freePort() : undefined
	let server: ChildProcess
	let guard: ChildProcess | undefined

	async function launch(): Promise<void> {
		server = spawn(
			program as string,
			[
				...(config ? [file] : []),
				...['--port', String(port ?? 0), '--bind', '127.0.0.1', '--unixsocket', path, '--dir', folder],
				...['--save', '', '--appendonly', 'no', '--daemonize', 'no', '--logfile', log],
				...(password === undefined ? [] : ['--requirepass', password]),
				...args,
			],
			{ stdio: 'ignore' },
		)
		let failure: Error | undefined
		server.once('error', (error) => {
			failure = error
		})
		server.unref()
		if (server.pid !== undefined) guard = watchdog(server.pid, folder)
		const deadline = Date.now() + 10_000
		while (!(await answers(path))) {
			if (failure !== undefined || server.exitCode !== null || Date.now() > deadline) {
				await end()
				throw new Error(`redis-server did not start\n${lastLines(log)}`, { cause: failure })
			}
			await sleep(10)
		}
	}

	// Always `kill -9`: there is nothing to save, and SIGTERM takes redis-server a tenth of a second.
	async function end(): Promise<void> {
		// Only a running server may have a watchdog: its process id is somebody else's afterwards.
		guard?.kill('SIGKILL')
		guard = undefined
		if (server.pid === undefined) return
		server.kill('SIGKILL')
		await exited(server)
		rmSync(path, { force: true })
	}

	try {
		await launch()
	} catch (error) {
		if (port === undefined) {
			rmSync(folder, { recursive: true, force: true })
			throw error
		}
		port = await freePort() // somebody else took the first one
		await launch()
	}

	const secret = password === undefined ? {} : { password }
	const connection: RedisAddress =
		port === undefined ? { path, ...secret } : { host: '127.0.0.1', port, ...secret }
	const encoded = password === undefined ? '' : encodeURIComponent(password)
	const redis: TestRedis = {
		path,
		connection,
		port,
		url:
			port === undefined
				? path + (encoded && `?password=${encoded}`)
				: `redis://${encoded && `:${encoded}@`}127.0.0.1:${port}`,
		get pid() {
			return server.pid as number
		},
		client(clientOptions = {}) {
			// disconnect() on a connection that is gone keeps the process for this time, by default 2 s.
			const client = new Redis({ ...connection, disconnectTimeout: 50, ...clientOptions })
			// Without a listener ioredis prints every failed attempt; commands still reject.
			client.on('error', () => {})
			clients.add(client)
			client.once('end', () => clients.delete(client))
			return client
		},
		async dump() {
			const client = redis.client({ protocol: 2, retryStrategy: () => null })
			try {
				const info = await client.info('keyspace')
				const lines: string[] = []
				for (const [, database = '0'] of info.matchAll(/^db(\d+):/gm)) {
					await client.select(Number(database))
					const prefix = database === '0' ? '' : `db${database} `
					lines.push(...(await dumpDatabase(client)).map((line) => prefix + line))
				}
				return lines
			} finally {
				client.disconnect()
			}
		},
		async monitor() {
			const monitor = await startMonitor(redis, password)
			monitors.add(monitor)
			return monitor
		},
		kill: end,
		async restart() {
			await end()
			await launch()
		},
		async stop() {
			for (const monitor of monitors) monitor.stop()
			for (const client of clients) client.disconnect()
			await end()
			rmSync(folder, { recursive: true, force: true })
		},
	}
	return redis
}
