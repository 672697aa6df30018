import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { TokenBroker } from '../src/broker.js'
import * as api from '../src/index.js'
import * as remote from '../src/remote.js'

const root = fileURLToPath(new URL('../../', import.meta.url))

interface Import {
	readonly from: string
	readonly to: string
	readonly typeOnly: boolean
}

/** Every import of the project's own code, with the project's files as paths from its top. */
function imports(folder: string): Import[] {
	return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
		.filter((file) => /\.c?ts$/.test(file) && !file.endsWith('.d.ts'))
		.flatMap((file) => {
			const from = join(folder, file)
			const text = readFileSync(join(root, from), 'utf8')
			const found = text.matchAll(/^(?:import|export)\s+(type\s)?(?:([^'"]*?)\sfrom\s+)?'([^']+)'/gm)
			const loaded = text.matchAll(
				/^.*(?<!typeof )\bimport\('([^']+)'\)|^.*\bcreateRequire\([^)]*\)\('([^']+)'\)|^import \w+ = require\('([^']+)'\)/gm,
			)
			const late = [...loaded].map(([, ...one]) => [undefined, undefined, undefined, one.find(Boolean)])
			return [...found, ...late].map(([, type, names = '', target = '']) => {
				const all = names
					.match(/^\{(.*)\}$/s)?.[1]
					?.split(',')
					.map((name) => name.trim())
					.filter(Boolean)
				const typeOnly = type !== undefined || (all?.every((name) => name.startsWith('type ')) ?? false)
				const to = target.startsWith('.')
					? relative(root, join(root, dirname(from), target)).replace(/\.(c?)js$/, '.$1ts')
					: target
				return { from, to, typeOnly }
			})
		})
}

const all = [...imports('src'), ...imports('workers')]
const inFolder = (folder: string) => (file: string) => file.startsWith(`${folder}/`)
const violations = (broken: (one: Import) => boolean) =>
	all.filter(broken).map(({ from, to }) => `${from} → ${to}`)

/** What both threads may load: no policy, no state, no Koa, no MSAL. */
const sharedLeaves = [
	'src/canonical-scope.ts',
	'src/errors.ts',
	'src/loopback.ts',
	'src/microsoft-clouds.ts',
	'src/monotonic.ts',
	'src/network.ts',
	'src/connectivity.ts',
	'src/redis-client.ts',
	'src/own-tenants.ts',
	'src/plain-text.ts',
	'src/quiet-redis.ts',
	'src/random.ts',
	'src/redis-partition.ts',
	'src/sealing.ts',
	'src/session-id.ts',
	'src/user-reference.ts',
]

describe('imports', () => {
	it('are found by this test', () => {
		assert.ok(all.length > 100)
		assert.ok(
			all.some(({ from, to, typeOnly }) => from === 'src/broker.ts' && to === 'src/wire.ts' && typeOnly),
		)
	})

	it('never lead from src to the workers, which are loaded by file', () => {
		assert.deepEqual(
			violations(({ from, to }) => inFolder('src')(from) && inFolder('workers')(to)),
			[],
		)
	})

	it('lead from the workers only to the shared leaves, and to the wire for its types', () => {
		assert.deepEqual(
			violations(
				({ from, to, typeOnly }) =>
					inFolder('workers')(from) &&
					inFolder('src')(to) &&
					!sharedLeaves.includes(to) &&
					!(to === 'src/wire.ts' && typeOnly),
			),
			[],
		)
	})

	it('of the shared leaves lead to no other room, and to the wire for its types', () => {
		assert.deepEqual(
			violations(
				({ from, to, typeOnly }) =>
					sharedLeaves.includes(from) &&
					inFolder('src')(to) &&
					!sharedLeaves.includes(to) &&
					!(to === 'src/wire.ts' && typeOnly),
			),
			[],
		)
	})

	it('of wire.ts are types, and so are all that lead to it', () => {
		assert.deepEqual(
			violations(({ from, to, typeOnly }) => (from === 'src/wire.ts' || to === 'src/wire.ts') && !typeOnly),
			[],
		)
	})

	it('of the rooms below lead neither to the broker nor to Koa', () => {
		const above = ['src/broker.ts', 'src/koa-msal.ts', 'src/index.ts', 'src/remote.ts']
		const isAbove = (file: string) =>
			above.includes(file) || ['src/koa', 'src/remote', 'src/cli'].some((folder) => inFolder(folder)(file))
		assert.deepEqual(
			violations(({ from, to, typeOnly }) => !isAbove(from) && isAbove(to) && !typeOnly),
			[],
		)
	})

	it('lead from the command line to the broker, and from nothing to the command line', () => {
		assert.deepEqual(
			violations(({ from, to }) => !inFolder('src/cli')(from) && inFolder('src/cli')(to)),
			[],
		)
		assert.deepEqual(
			violations(({ from, to }) => inFolder('src/cli')(from) && inFolder('src/koa')(to)),
			[],
		)
	})

	it('of the broker do not lead to Koa', () => {
		assert.deepEqual(
			violations(({ from, to }) => from === 'src/broker.ts' && inFolder('src/koa')(to)),
			[],
		)
	})

	it('name piscina in one file, comlink in one room, MSAL in the workers, Koa under src/koa', () => {
		const users = (name: string) => [
			...new Set(all.filter(({ to, typeOnly }) => to === name && !typeOnly).map(({ from }) => from)),
		]
		assert.deepEqual(users('piscina'), ['src/worker-threads.ts'])
		assert.ok(users('comlink').length <= 2 && users('comlink').every((file) => file.startsWith('src/remote')))
		assert.deepEqual(users('@azure/msal-node'), ['workers/msal.cts'])
		assert.ok(users('commander').every(inFolder('src/cli')))
		for (const name of ['koa', 'koa-session', 'koa-redis', '@koa/router'])
			assert.ok(users(name).every(inFolder('src/koa')), name)
	})

	it('have no cycles', () => {
		const next = new Map<string, string[]>()
		for (const { from, to } of all.filter(({ typeOnly }) => !typeOnly))
			next.set(from, [...(next.get(from) ?? []), to])
		const done = new Set<string>()
		const visit = (file: string, path: readonly string[]): void => {
			assert.ok(!path.includes(file), `a cycle: ${[...path, file].join(' → ')}`)
			if (done.has(file)) return
			for (const target of next.get(file) ?? []) visit(target, [...path, file])
			done.add(file)
		}
		for (const file of next.keys()) visit(file, [])
	})
})

describe('the public names', () => {
	it('are these', () => {
		assert.deepEqual(Object.keys(api).sort(), [
			'BrokerError',
			'allOf',
			'anyOf',
			'createHealthRoutes',
			'createMsalRoutes',
			'createMsalSession',
			'createTokenBroker',
			'describeSettings',
			'hardenServer',
			'hasRole',
			'hasScope',
			'inGroup',
			'koaMsal',
			'memoryTokenStore',
			'redisTokenStore',
			'requireSignedIn',
			'sealedSessionStore',
			'startSignIn',
		])
		assert.deepEqual(Object.keys(remote).sort(), ['connectBroker', 'exposeBroker'])
	})

	it('of the broker are these', () => {
		const own = Object.getOwnPropertyNames(TokenBroker.prototype).sort()
		assert.deepEqual(own, [
			'acquireByCode',
			'acquireSilent',
			'checkConnectivity',
			'close',
			'constructor',
			'credential',
			'findReturnTo',
			'forSession',
			'forUser',
			'getAuthCodeUrl',
			'health',
			'isSignedIn',
			'reload',
			'signOut',
			'statistics',
		])
	})
})
