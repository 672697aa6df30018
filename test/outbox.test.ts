import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it, mock } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { Outbox } from '../src/outbox.js'
import type { UnsavedBlob } from '../src/wire.js'

const outboxOf = (save: (partition: string, blob: UnsavedBlob) => Promise<void>) =>
	new Outbox<UnsavedBlob>('blobs', async (partition, blob) => {
		await save(partition, blob)
		return 'done'
	})

const interval = 500
const width = 128
/** Milliseconds after which a part of the store that is away has failed. */
const storePatience = 750
const blob = (sealed: string, version = 1): UnsavedBlob => ({
	version,
	sealed,
	expiresOn: 0,
	refreshedFrom: [],
	holder: '',
})

/** A store that can be down, altogether or for some partitions, or that answers when told to. */
function createStore() {
	const store = {
		isDown: true,
		refuses: new Set<string>(),
		tried: [] as string[],
		written: new Map<string, string>(),
		hold: undefined as Promise<void> | undefined,
		save: async (partition: string, { sealed }: UnsavedBlob) => {
			store.tried.push(partition)
			await store.hold
			const refused = store.refuses.has(partition)
			if (refused) await new Promise((resolve) => setTimeout(resolve, storePatience))
			if (store.isDown || refused) throw new Error('no')
			store.written.set(partition, sealed)
		},
	}
	return store
}

describe('unsaved blobs', () => {
	beforeEach(() => mock.timers.enable({ apis: ['setTimeout'] }))
	afterEach(() => mock.timers.reset())

	/** Lets a round begin, and end as far as it can. */
	async function round(times = 1): Promise<void> {
		for (let i = 0; i < times; i++) {
			mock.timers.tick(interval)
			await turn()
		}
	}

	it('E5: are kept and tried again until the store is back, then forgotten', async () => {
		const store = createStore()
		const unsaved = outboxOf(store.save)
		unsaved.keep('a', blob('A'))
		assert.deepEqual(store.tried, [], 'not at once')
		mock.timers.tick(interval - 1)
		await turn()
		assert.deepEqual(store.tried, [])
		await round(4)
		assert.equal(store.tried.length, 4)
		assert.equal(unsaved.get('a')?.sealed, 'A', 'and are used meanwhile')
		store.isDown = false
		await round()
		assert.deepEqual([...store.written], [['a', 'A']])
		assert.deepEqual([unsaved.size, unsaved.get('a')], [0, undefined])
		await round(3)
		assert.equal(store.tried.length, 5, 'and nothing is tried any more')
	})

	/** Lets so many milliseconds pass. */
	async function pass(milliseconds: number): Promise<void> {
		for (let at = 0; at < milliseconds; at += 50) {
			mock.timers.tick(50)
			await turn()
		}
	}

	it('ask a store that is down so many times in a round, not once for each', async () => {
		const store = createStore()
		const unsaved = outboxOf(store.save)
		for (let i = 0; i < 500; i++) unsaved.keep(`p${i}`, blob(`${i}`))
		await round(3)
		assert.equal(store.tried.length, 3 * width)
		store.isDown = false
		await round()
		assert.equal(store.written.size, 500)
		assert.equal(unsaved.size, 0)
	})

	it('do not wait for the part of the store that is away, nor behind those that failed', async () => {
		const store = createStore()
		store.isDown = false
		const unsaved = outboxOf(store.save)
		// Those that are away come first, and fail together.
		for (let i = 0; i < 600; i++) {
			unsaved.keep(`p${i}`, blob(`${i}`))
			if (i < 200) store.refuses.add(`p${i}`)
		}
		await pass(2000)
		assert.equal(store.written.size, 400)
		assert.equal(unsaved.size, 200)
		unsaved.keep('q', blob('Q'))
		await pass(interval + storePatience + interval)
		assert.equal(store.written.get('q'), 'Q', 'who comes later does not wait behind those that failed')
		store.refuses.clear()
		await pass(interval + storePatience + interval)
		assert.equal(unsaved.size, 0)
	})

	it('are told as soon as their part is back, also of sessions in use, with others away still', async () => {
		const store = createStore()
		store.isDown = false
		const unsaved = outboxOf(store.save)
		for (let i = 0; i < 200; i++) store.refuses.add(`p${i}`)
		for (const partition of store.refuses) unsaved.keep(partition, blob(partition))
		await pass(3000)
		assert.equal(store.written.size, 0)
		store.refuses.delete('p100')
		for (let passed = 0; passed < 3 * (interval + storePatience); passed += 200) {
			unsaved.get('p100')
			await pass(200)
		}
		assert.deepEqual([...store.written.keys()], ['p100'])
	})

	it('of the part that is there are written when all is closed', async () => {
		const store = createStore()
		store.isDown = false
		const unsaved = outboxOf(store.save)
		for (let i = 0; i < 150; i++) unsaved.keep(`p${i}`, blob(`${i}`))
		for (let i = 0; i < 100; i++) store.refuses.add(`p${i}`)
		const closing = unsaved.close()
		await pass(storePatience + interval)
		await closing
		assert.equal(store.written.size, 50)
	})

	it('do not wait for one that can never be written', async () => {
		for (const refused of ['p0', 'p4', 'p9']) {
			const store = createStore()
			store.isDown = false
			store.refuses = new Set([refused, 'p7'])
			const unsaved = outboxOf(store.save)
			for (let i = 0; i < 10; i++) unsaved.keep(`p${i}`, blob(`${i}`))
			await pass(3000)
			assert.equal(store.written.size, 8, `${refused}: ${[...store.written.keys()]}`)
			assert.equal(unsaved.size, 2)
		}
	})

	it('are dropped at sign-out and not written any more', async () => {
		const store = createStore()
		const unsaved = outboxOf(store.save)
		unsaved.keep('a', blob('A'))
		unsaved.keep('b', blob('B'))
		unsaved.drop('a')
		store.isDown = false
		await round(2)
		assert.deepEqual([...store.written], [['b', 'B']])
	})

	it('are not written when they are dropped while those before them are', async () => {
		const store = createStore()
		store.isDown = false
		let go = () => {}
		store.hold = new Promise((resolve) => {
			go = resolve
		})
		const unsaved = outboxOf(store.save)
		const names = Array.from({ length: width + 4 }, (_, at) => `p${at}`)
		for (const name of names) unsaved.keep(name, blob(name))
		mock.timers.tick(interval)
		await turn()
		const first = [...store.tried]
		assert.equal(first.length, width)
		for (const name of names) if (!first.includes(name)) unsaved.drop(name)
		go()
		await turn()
		await round()
		assert.deepEqual([...store.written.keys()], first)
	})

	it('keep the newer one that comes while the older is being written, and write it next', async () => {
		const store = createStore()
		store.isDown = false
		let go = () => {}
		store.hold = new Promise((resolve) => {
			go = resolve
		})
		const unsaved = outboxOf(store.save)
		unsaved.keep('a', blob('old'))
		mock.timers.tick(interval)
		await turn()
		unsaved.keep('a', blob('new', 2))
		go()
		await turn()
		assert.equal(store.written.get('a'), 'old')
		assert.equal(unsaved.get('a')?.sealed, 'new')
		await round()
		assert.equal(store.written.get('a'), 'new')
		assert.equal(unsaved.size, 0)
	})

	it('write the newest that is there, not the one that was when the round began', async () => {
		const store = createStore()
		store.isDown = false
		let go = () => {}
		store.hold = new Promise((resolve) => {
			go = resolve
		})
		const unsaved = outboxOf(store.save)
		for (let i = 0; i <= width; i++) unsaved.keep(`p${i}`, blob('old'))
		const last = `p${width}`
		mock.timers.tick(interval)
		await turn()
		assert.ok(!store.tried.includes(last))
		unsaved.keep(last, blob('new', 2))
		go()
		await turn()
		assert.equal(store.written.get(last), 'new')
	})

	it('run one round at a time, however long the store takes', async () => {
		const store = createStore()
		store.hold = new Promise(() => {})
		const unsaved = outboxOf(store.save)
		unsaved.keep('a', blob('A'))
		await round(3)
		unsaved.keep('b', blob('B'))
		await round(3)
		assert.equal(store.tried.length, 1)
	})

	it('are bounded: at 10,000 the one that came first goes', async () => {
		const store = createStore()
		const unsaved = outboxOf(store.save)
		for (let i = 0; i < 10_000; i++) unsaved.keep(`p${i}`, blob(''))
		unsaved.keep('p0', blob('newer'))
		for (let i = 0; i < 5; i++) unsaved.keep(`q${i}`, blob(''))
		assert.equal(unsaved.size, 10_000)
		assert.ok(unsaved.get('p0') && unsaved.get('q4'))
		assert.equal(unsaved.get('p1'), undefined)
	})

	it('are tried once more when all is closed, and never after', async () => {
		const store = createStore()
		const unsaved = outboxOf(store.save)
		unsaved.keep('a', blob('A'))
		store.isDown = false
		await unsaved.close()
		assert.deepEqual([...store.written], [['a', 'A']])
		const down = createStore()
		const lost = outboxOf(down.save)
		lost.keep('a', blob('A'))
		await lost.close()
		assert.equal(down.tried.length, 1)
		lost.keep('b', blob('B'))
		await round(5)
		assert.equal(down.tried.length, 1)
	})

	it('do not keep the process', async () => {
		mock.timers.reset()
		const { spawnSync } = await import('node:child_process')
		const module = new URL('../src/outbox.js', import.meta.url).href
		const program = `const { Outbox } = await import('${module}')
			new Outbox('blobs', async () => { throw new Error('no') }).keep('a', { version: 1, sealed: '', expiresOn: 0, refreshedFrom: [], holder: '' })`
		const { status, signal } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
			timeout: 10_000,
		})
		assert.deepEqual([status, signal], [0, null])
	})
})
