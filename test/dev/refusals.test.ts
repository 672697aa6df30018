import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createEntraStandIn } from '../../dev/entra-stand-in.js'
import { createGraphStub } from '../../dev/graph-stub.js'

const notLoopback = { code: 'STAND_IN_NOT_LOOPBACK', message: /loopback only.*"0\.0\.0\.0"/ }

test('the stand-in listens on nothing but loopback', async () => {
	await assert.rejects(createEntraStandIn({ host: '0.0.0.0' }), notLoopback)
	await assert.rejects(createEntraStandIn({ pagesHost: '0.0.0.0' }), notLoopback)
	await assert.rejects(createEntraStandIn({ host: 'login.example' }), { code: 'STAND_IN_NOT_LOOPBACK' })
})

test('neither the stand-in nor the Graph stub starts in production', async () => {
	const before = process.env.NODE_ENV
	process.env.NODE_ENV = 'production'
	try {
		const refusal = { code: 'STAND_IN_IN_PRODUCTION', message: /NODE_ENV=production/ }
		await assert.rejects(createEntraStandIn(), refusal)
		await assert.rejects(createGraphStub({ standIn: {} as never }), refusal)
	} finally {
		if (before === undefined) delete process.env.NODE_ENV
		else process.env.NODE_ENV = before
	}
})

test('a taken port is named, with the variable that changes it, and nothing stays open', async () => {
	const first = await createEntraStandIn()
	try {
		const port = Number(new URL(first.origin).port)
		const pagesPort = Number(new URL(first.pagesOrigin).port)
		const taken = (variable: string, at: number) => ({
			code: 'EADDRINUSE',
			message: new RegExp(`Port ${at} .* ${variable}`),
		})
		await assert.rejects(createEntraStandIn({ port }), taken('IDP_PORT', port))
		await assert.rejects(createEntraStandIn({ pagesPort }), taken('IDP_PAGES_PORT', pagesPort))
		await assert.rejects(createGraphStub({ standIn: first, port }), taken('GRAPH_PORT', port))
	} finally {
		await first.close()
	}
})

test('starting one is silent and leaves the console as it was', async () => {
	const { info, warn } = console
	const lines: unknown[] = []
	const listen = (...line: unknown[]) => lines.push(line)
	console.info = listen
	console.warn = listen
	try {
		const standIn = await createEntraStandIn()
		await standIn.close()
		assert.equal(console.info, listen)
		assert.equal(console.warn, listen)
		assert.deepEqual(lines, [])
	} finally {
		Object.assign(console, { info, warn })
	}
})
