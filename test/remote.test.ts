import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { getEventListeners, once } from 'node:events'
import { after, afterEach, before, describe, it, mock } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads'
import { type AcquiredToken, BrokerError, type SilentRequest } from '../src/index.js'
import { connectBroker, exposeBroker, type RemoteBroker } from '../src/remote.js'
import { attacks, lawfulCall } from './fixtures/remote-attacks.js'
import type { CallerTask, Inventory } from './fixtures/remote-caller.js'
import { type Application, createApplication, createWorld, type World } from './support/application.js'
import { assertTook } from './support/took.js'

type Exposed = Parameters<typeof exposeBroker>[0]

const account = {
	homeAccountId: 'object.tenant',
	tenantId: 'tenant',
	objectId: 'object',
	username: 'ada@contoso.example',
}
const session = { msal: { partition: 'p'.repeat(43), account } }
const token: AcquiredToken = Object.freeze({
	accessToken: 'an access token',
	tokenType: 'Bearer',
	expiresOn: new Date('2030-01-01T12:00:00Z'),
	refreshOn: new Date('2030-01-01T11:30:00Z'),
	scopes: ['User.Read'],
	account,
	outcome: 'hit',
})

/** A broker that records what it is asked, and answers at once unless told otherwise. */
function recordingBroker(overrides: Partial<Exposed> = {}): Exposed & { readonly asked: unknown[][] } {
	const asked: unknown[][] = []
	return {
		asked,
		acquireSilent(...parameters) {
			asked.push(['acquireSilent', ...parameters])
			return overrides.acquireSilent?.(...parameters) ?? Promise.resolve(token)
		},
		signOut(...parameters) {
			asked.push(['signOut', ...parameters])
			return overrides.signOut?.(...parameters) ?? Promise.resolve({})
		},
	}
}

/** Answers when it is told to. */
function slowBroker() {
	const begun = deferred<void>()
	const answer = deferred<AcquiredToken>()
	const broker = recordingBroker({
		acquireSilent() {
			begun.resolve()
			return answer.promise
		},
	})
	return { broker, begun: begun.promise, answer }
}

function deferred<T>() {
	let resolve: (value: T) => void = () => {}
	const promise = new Promise<T>((settle) => {
		resolve = settle
	})
	return { promise, resolve }
}

function startWorker(name: string, port: MessagePort, data: object = {}): Worker {
	return new Worker(new URL(`./fixtures/remote-${name}.js`, import.meta.url), {
		workerData: { port, ...data },
		transferList: [port],
	})
}

/** A thread of the application's that calls the broker as it is told. */
function startCaller(broker: Exposed) {
	const { port1, port2 } = new MessageChannel()
	const stop = exposeBroker(broker, port1)
	const worker = startWorker('caller', port2)
	return {
		port: port1,
		worker,
		stop,
		// biome-ignore lint/suspicious/noExplicitAny: a test looks at what it gets.
		async perform(task: CallerTask): Promise<{ readonly value?: any; readonly error?: any }> {
			worker.postMessage(task)
			const [answer] = await once(worker, 'message')
			return answer
		},
		async end() {
			stop()
			await worker.terminate()
		},
	}
}

/** Both ends in this thread. */
function connect(broker: Exposed): { readonly remote: RemoteBroker; readonly stop: () => void } {
	const { port1, port2 } = new MessageChannel()
	const stop = exposeBroker(broker, port1)
	return { remote: connectBroker(port2), stop }
}

function hasCode(code: string) {
	return (error: unknown) => {
		assert.ok(error instanceof BrokerError, String(error))
		assert.equal(error.code, code)
		return true
	}
}

describe('a broker asked from a worker thread (the original’s worker use outside a request)', () => {
	let world: World
	let app: Application
	let ticket: object
	let caller: ReturnType<typeof startCaller>
	before(async () => {
		world = await createWorld()
		app = await createApplication(world)
		const browser = app.browser()
		await app.signIn(browser)
		await browser.get(`${app.origin}/`)
		ticket = { msal: app.seen.session?.msal }
		caller = startCaller(app.broker)
	})
	after(async () => {
		await caller.end()
		await app.close()
		await world.close()
	})

	it("answers with a token by the session's ticket, from memory", async () => {
		const { value } = await caller.perform({ verb: 'acquireSilent', session: ticket })
		const held = await app.broker.acquireSilent(ticket)
		assert.deepEqual(value, { ...held, frozen: true })
		assert.equal(value.outcome, 'hit')
		assert.ok(value.expiresOn instanceof Date && value.refreshOn instanceof Date)
	})

	it('passes the request on', async () => {
		world.standIn.clearLog()
		const request = { scopes: ['User.Read'], forceRefresh: true }
		const { value } = await caller.perform({ verb: 'acquireSilent', session: ticket, request })
		assert.equal(value.outcome, 'refreshed')
		assert.equal(world.standIn.count('token'), 1)
	})

	it('says with the same code that nobody is signed in', async () => {
		const { error } = await caller.perform({ verb: 'acquireSilent', session: null })
		assert.deepEqual([error.code, error.status], ['ERR_SIGNED_OUT', 401])
	})

	it('signs out, for every thread', async () => {
		const { value } = await caller.perform({ verb: 'signOut', session: ticket })
		assert.match(value.endSessionEndpoint, /^http/)
		await assert.rejects(app.broker.acquireSilent(ticket), hasCode('ERR_SIGNED_OUT'))
		const { error } = await caller.perform({ verb: 'acquireSilent', session: ticket })
		assert.equal(error.code, 'ERR_SIGNED_OUT')
	})
})

describe('errors from the broker', () => {
	async function receive(thrown: unknown) {
		const caller = startCaller(recordingBroker({ acquireSilent: () => Promise.reject(thrown) }))
		try {
			return (await caller.perform({ verb: 'acquireSilent', session })).error
		} finally {
			await caller.end()
		}
	}

	it('keep what they carry, but for the cause and the stack', async () => {
		const fields = { status: 418, retryAfter: 77, claims: '{"access_token":{}}', scopes: ['Mail.Read'] }
		const thrown = new BrokerError('ERR_INTERACTION_REQUIRED', 'Consent is needed.', {
			...fields,
			cause: new Error('the cause'),
		})
		const { stack, cause, ...received } = await receive(thrown)
		assert.deepEqual(received, {
			code: 'ERR_INTERACTION_REQUIRED',
			message: 'Consent is needed.',
			...fields,
		})
		assert.equal(cause, undefined)
		assert.doesNotMatch(stack, /remote\.test/)
	})

	it('tell nothing when they are not meant to be told', async () => {
		const received = await receive(new TypeError('a secret', { cause: new Error('another secret') }))
		assert.deepEqual([received.code, received.status, received.cause], ['ERR_WORKER_FAILED', 503, undefined])
		assert.doesNotMatch(JSON.stringify(received), /secret|TypeError/)
	})
})

describe('a call', () => {
	it('sends the ticket and the request, and nothing else of either', async () => {
		const { port1, port2 } = new MessageChannel()
		const sent = once(port1, 'message')
		const { signal } = new AbortController()
		const odd = { msal: { ...session.msal, unknown: () => {} }, cart: () => {}, flash: 'a secret' }
		const request = { forceRefresh: false, signal, unknown: () => {} }
		const rejection = assert.rejects(connectBroker(port2).acquireSilent(odd, request))
		const [{ argumentList }] = await sent
		port1.close()
		await rejection
		assert.deepEqual(
			argumentList.map(({ value }: { value: unknown }) => value),
			[session.msal, { forceRefresh: false }],
		)
	})

	it('reaches the broker with what was sent, field by field', async () => {
		const broker = recordingBroker()
		const { remote, stop } = connect(broker)
		const request = { scopes: ['a', 'b'], forceRefresh: true, claims: '{}', correlationId: 'id' }
		await remote.acquireSilent(session, request)
		await remote.acquireSilent(undefined)
		await remote.signOut(session)
		await remote.signOut(null)
		stop()
		assert.deepEqual(broker.asked, [
			['acquireSilent', session, request],
			['acquireSilent', null, {}],
			['signOut', session],
			['signOut', null],
		])
	})

	it('is refused in its own thread when the request is malformed', async () => {
		const broker = recordingBroker()
		const { remote, stop } = connect(broker)
		const malformed = [
			{ scopes: 'User.Read' },
			{ scopes: [() => {}] },
			{ scopes: new Array(1) },
			{ scopes: new Array(101).fill('a') },
			{ forceRefresh: 'yes' },
			{ claims: {} },
			{ claims: 'a'.repeat(20_000) },
			{ correlationId: Symbol('id') },
		]
		for (const request of malformed)
			await assert.rejects(
				remote.acquireSilent(session, request as unknown as SilentRequest),
				hasCode('ERR_BAD_REQUEST'),
			)
		stop()
		assert.deepEqual(broker.asked, [])
	})

	it('stops waiting when its signal says so, and the work goes on (H9)', async () => {
		const { broker, begun, answer } = slowBroker()
		const { remote, stop } = connect(broker)
		const controller = new AbortController()
		const call = remote.acquireSilent(session, { signal: controller.signal })
		const other = remote.acquireSilent(session)
		await begun
		const reason = new Error('no time left')
		controller.abort(reason)
		await assert.rejects(call, (error) => error === reason)
		answer.resolve(token)
		assert.deepEqual({ ...(await other) }, token)
		assert.equal(getEventListeners(controller.signal, 'abort').length, 0)

		const asked = broker.asked.length
		await assert.rejects(
			remote.acquireSilent(session, { signal: controller.signal }),
			(error) => error === reason,
		)
		await remote.signOut(session)
		assert.equal(broker.asked.length, asked + 1, 'a call that was aborted before is not sent')
		stop()
	})

	it('H9: under way survives that nobody holds the remote broker', async () => {
		setFlagsFromString('--expose-gc')
		const collectGarbage: () => void = runInNewContext('gc')
		const { broker, begun, answer } = slowBroker()
		const { port1, port2 } = new MessageChannel()
		const stop = exposeBroker(broker, port1)
		const call = connectBroker(port2).acquireSilent(session)
		await begun
		for (let round = 0; round < 10; round++) {
			collectGarbage()
			await turn()
		}
		answer.resolve(token)
		assert.equal((await call).accessToken, token.accessToken)
		stop()
	})
})

describe('the end of a connection (H9)', () => {
	it('rejects calls when the thread of the broker ends', async () => {
		const { port1, port2 } = new MessageChannel()
		const owner = startWorker('owner', port2)
		const remote = connectBroker(port1)
		const calls = [remote.acquireSilent(session), remote.signOut(session)]
		const rejections = calls.map((call) => assert.rejects(call, hasCode('ERR_BROKER_CLOSED')))
		await once(owner, 'message')
		await owner.terminate()
		await Promise.all(rejections)
		await assert.rejects(remote.acquireSilent(session), hasCode('ERR_BROKER_CLOSED'))
		await assert.rejects(remote.signOut(session), hasCode('ERR_BROKER_CLOSED'))
	})

	it("rejects a worker's calls when the broker's side stops", async () => {
		const { broker, begun } = slowBroker()
		const caller = startCaller(broker)
		const pending = caller.perform({ verb: 'acquireSilent', session })
		await begun
		caller.stop()
		caller.stop()
		const { error } = await pending
		assert.deepEqual([error.code, error.status], ['ERR_BROKER_CLOSED', 503])
		const later = await caller.perform({ verb: 'acquireSilent', session })
		assert.equal(later.error.code, 'ERR_BROKER_CLOSED')
		assert.equal(broker.asked.length, 1)
		await caller.end()
	})

	it('rejects calls when their own side closes, and closes the other', async () => {
		const { broker, begun } = slowBroker()
		const { port1, port2 } = new MessageChannel()
		exposeBroker(broker, port1)
		const remote = connectBroker(port2)
		const rejection = assert.rejects(remote.acquireSilent(session), hasCode('ERR_BROKER_CLOSED'))
		await begun
		const closed = once(port1, 'close')
		remote.close()
		remote.close()
		await rejection
		await closed
		await assert.rejects(remote.acquireSilent(session), hasCode('ERR_BROKER_CLOSED'))
	})

	it('releases the proxy', async () => {
		const { port1, port2 } = new MessageChannel()
		const heard: { readonly type: string }[] = []
		port1.on('message', (message) => heard.push(message))
		const closed = once(port1, 'close')
		connectBroker(port2).close()
		await closed
		assert.deepEqual(
			heard.map(({ type }) => type),
			['RELEASE'],
		)
	})

	it('is noticed when the port was closed before anybody connected', async () => {
		for (const side of ['port1', 'port2'] as const) {
			const channel = new MessageChannel()
			let closed = false
			channel.port2.once('close', () => {
				closed = true
			})
			channel[side].close()
			while (!closed) await turn()
			await assert.rejects(connectBroker(channel.port2).acquireSilent(session), hasCode('ERR_BROKER_CLOSED'))
		}
	})

	it('comes when the other side answers with anything but an answer', async (context) => {
		const warn = context.mock.method(process, 'emitWarning', () => {})
		const answers = [
			null,
			'an answer',
			{ type: 'RAW', value: undefined },
			{ type: 'RAW', value: { ok: 1, value: {} } },
			{ type: 'RAW', value: { ok: true } },
			{ type: 'RAW', value: { ok: false } },
			{ type: 'HANDLER', name: 'throw', value: { isError: false, value: 'thrown over there' } },
		]
		for (const answer of answers) {
			const { port1, port2 } = new MessageChannel()
			port1.once('message', ({ id }) => port1.postMessage(answer && Object.assign(Object(answer), { id })))
			await assert.rejects(connectBroker(port2).acquireSilent(session), hasCode('ERR_BROKER_CLOSED'))
		}
		assert.equal(warn.mock.callCount(), answers.length)
	})

	it('comes by itself when a thread has nothing left to do, and not while it waits for an answer', async () => {
		for (const calls of [0, 1]) {
			const broker = recordingBroker({
				async acquireSilent() {
					for (let turns = 0; turns < 1000; turns++) await turn()
					return token
				},
			})
			const { port1, port2 } = new MessageChannel()
			exposeBroker(broker, port1)
			const closed = once(port1, 'close')
			const [exitCode] = await once(startWorker('job', port2, { session, calls }), 'exit')
			assert.equal(exitCode, 0)
			await closed
			assert.equal(broker.asked.length, calls)
		}
	})

	it('H9: comes by itself when nobody holds the broker any more, with the answer of the call under way, and the process ends', () => {
		const program = fileURLToPath(new URL('./fixtures/remote-dropped.js', import.meta.url))
		const { status, signal, stdout, stderr } = spawnSync(process.execPath, ['--expose-gc', program], {
			encoding: 'utf8',
			timeout: 10_000,
		})
		assert.deepEqual([status, signal], [0, null], `${stdout}${stderr}`)
		const { during, outcome, took, after, still } = JSON.parse(stdout)
		assert.deepEqual(during, { idle: true, calling: false, kept: false })
		assert.equal(outcome, 'ERR_OVERLOADED')
		assertTook(took, 1500)
		assert.deepEqual(after, { calling: true, kept: false })
		assert.deepEqual(still, ['ERR_OVERLOADED', 'ERR_OVERLOADED'], 'who holds a method of it holds it')
	})

	it('refuses what is no port', () => {
		const notPort = {} as MessagePort
		assert.throws(() => exposeBroker(recordingBroker(), notPort), hasCode('ERR_CONFIG'))
		assert.throws(() => connectBroker(notPort), hasCode('ERR_CONFIG'))
	})
})

describe('ten thousand calls (H9)', () => {
	it('leave no port and no listener behind', async () => {
		const resources = () => process.getActiveResourcesInfo().sort()
		const atFirst = resources()
		const broker = recordingBroker()
		const caller = startCaller(broker)
		const warmUp = await caller.perform({ verb: 'acquireSilent', session })
		assert.equal(warmUp.value?.accessToken, token.accessToken)
		const connected = resources()
		const port = caller.port as MessagePort & { listenerCount(type: string): number }
		const listeners = () => ['message', 'messageerror', 'close'].map((type) => port.listenerCount(type))
		const listening = listeners()

		const calls = 10_000
		const { value } = await caller.perform({ verb: 'acquireMany', session, calls })
		const { answered, before, after, portsMade } = value as {
			answered: number
			before: Inventory
			after: Inventory
			portsMade: number
		}
		assert.equal(answered, calls)
		assert.equal(broker.asked.length, calls + 1)
		assert.deepEqual(after, before)
		assert.equal(after.abortListeners, 0)
		assert.equal(portsMade, 0)
		assert.deepEqual(resources(), connected)
		assert.deepEqual(listeners(), listening)

		const gone = Promise.all([once(caller.port, 'close'), once(caller.worker, 'exit')])
		await caller.perform({ verb: 'close' })
		await gone
		await turn()
		assert.deepEqual(resources(), atFirst)
	})
})

describe('a hostile thread', () => {
	const world = globalThis as { breach?: unknown }
	afterEach(() => {
		delete world.breach
		Reflect.deleteProperty(Object.prototype, 'breach')
		mock.restoreAll()
	})

	for (const attack of Object.keys(attacks))
		it(`gets nothing done when it ${attack}`, async () => {
			const warn = mock.method(process, 'emitWarning', () => {})
			const reached = deferred<'reached'>()
			const broker = recordingBroker({
				signOut: async () => {
					reached.resolve('reached')
					return {}
				},
			})
			const { port1, port2 } = new MessageChannel()
			const stop = exposeBroker(broker, port1)
			const closed = once(port1, 'close').then(() => 'closed')
			const attacker = startWorker('attacker', port2, { attack })
			const heard = once(attacker, 'message')
			try {
				const end = await Promise.race([closed, reached.promise])
				assert.equal(({} as { breach?: unknown }).breach ?? world.breach, undefined)
				assert.deepEqual(broker.asked, [])
				assert.equal(end, 'closed')
				assert.deepEqual(await heard, [[]])
				assert.equal(warn.mock.callCount(), 1)
			} finally {
				stop()
				await attacker.terminate()
			}
			const { remote } = connect(broker)
			assert.equal((await remote.acquireSilent(session)).accessToken, token.accessToken)
			remote.close()
		})

	it('is told so when its arguments are malformed', async () => {
		const broker = recordingBroker()
		const { port1, port2 } = new MessageChannel()
		const stop = exposeBroker(broker, port1)
		const { partition } = session.msal
		const { tenantId: _, ...partOfAccount } = account
		let deep: unknown = 'User.Read'
		for (let level = 0; level < 1000; level++) deep = [deep]
		const malformed: unknown[][] = [
			[],
			[undefined],
			['a ticket'],
			[7],
			[session],
			[{ partition, account: null }],
			[{ partition: [partition], account }],
			[{ partition: `${partition}:other`, account }],
			[{ partition, account: partOfAccount }],
			[{ partition, account: { ...account, username: { toString: 1 } } }],
			[{ partition, account: { ...account, objectId: 'o'.repeat(20_000) } }],
			[JSON.parse(`{"__proto__":${JSON.stringify(session.msal)}}`)],
			[session.msal, null],
			[session.msal, 'a request'],
			[session.msal, { scopes: 'User.Read' }],
			[session.msal, { scopes: [deep] }],
			[session.msal, { scopes: { length: 1, 0: 'User.Read' } }],
			[session.msal, { scopes: [1] }],
			[session.msal, { forceRefresh: 1 }],
			[session.msal, { claims: new Map() }],
			[session.msal, { correlationId: 1n }],
		]
		for (const values of malformed) {
			const argumentList = values.map((value) => ({ type: 'RAW', value }))
			port2.postMessage({ ...lawfulCall, path: ['acquireSilent'], argumentList })
			const [{ value }] = await once(port2, 'message')
			assert.deepEqual([value.ok, value.error.code, value.error.status], [false, 'ERR_BAD_REQUEST', 400])
		}
		assert.deepEqual(broker.asked, [])
		stop()
	})

	it('gives the broker no request that it cannot build itself', async () => {
		const broker = recordingBroker()
		const { port1, port2 } = new MessageChannel()
		const stop = exposeBroker(broker, port1)
		const request = { scopes: ['a'], signal: {}, unknown: 1 }
		const ticket = { ...session.msal, unknown: 1, account: { ...account, unknown: 1 } }
		const argumentList = [ticket, request].map((value) => ({ type: 'RAW', value }))
		port2.postMessage({ ...lawfulCall, path: ['acquireSilent'], argumentList, unknown: 1 })
		await once(port2, 'message')
		assert.deepEqual(broker.asked, [['acquireSilent', session, { scopes: ['a'] }]])
		stop()
	})

	it('may let go of the broker: the port is closed', async () => {
		const { port1, port2 } = new MessageChannel()
		exposeBroker(recordingBroker(), port1)
		const closed = once(port1, 'close')
		port2.postMessage({ id: 'a', type: 'RELEASE' })
		const [answer] = await once(port2, 'message')
		assert.equal(answer.id, 'a')
		await closed
	})
})
