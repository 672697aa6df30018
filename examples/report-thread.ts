/**
 * A report that is made in a thread of its own, with a token that it asks this thread's broker for:
 * `node report-thread.js {tenant id} {object id}`, with the application's own settings in the environment. In an
 * application the ticket is `ctx.session.msal`; here it is looked up.
 */
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { isMainThread, MessageChannel, type MessagePort, Worker, workerData } from 'node:worker_threads'
import { koaMsal, type SessionTicket } from 'koa-msal'
import { connectBroker, exposeBroker } from 'koa-msal/remote'

interface Job {
	/** To the thread that has the broker. */
	readonly port: MessagePort
	readonly ticket: SessionTicket
	readonly graph: string
}

if (isMainThread) await main()
else await makeReport(workerData as Job)

async function main(): Promise<void> {
	const [tenantId, objectId] = process.argv.slice(2)
	if (!tenantId || !objectId) throw new Error('usage: report-thread {tenant id} {object id}')
	const { broker } = await koaMsal()
	try {
		const [ticket] = await broker.sessions.find({ tenantId, objectId })
		if (!ticket) throw new Error('This user has no session now: sign in to the application first.')
		const { port1, port2: port } = new MessageChannel()
		// The thread can ask for tokens of tickets that it has, and sign them out, and nothing else.
		const stop = exposeBroker(broker, port1)
		const graph = process.env.GRAPH_ENDPOINT ?? 'https://graph.microsoft.com/v1.0'
		const worker = new Worker(fileURLToPath(import.meta.url), {
			workerData: { port, ticket, graph } satisfies Job,
			transferList: [port],
		})
		const [exitCode] = await once(worker, 'exit')
		stop()
		process.exitCode = Number(exitCode)
	} finally {
		await broker.close()
	}
}

async function makeReport({ port, ticket, graph }: Job): Promise<void> {
	const broker = connectBroker(port)
	const { accessToken } = await broker.acquireSilent(
		{ msal: ticket },
		{ signal: AbortSignal.timeout(10_000) },
	)
	const answer = await fetch(`${graph}/me`, {
		headers: { Authorization: `Bearer ${accessToken}` },
		redirect: 'error',
		signal: AbortSignal.timeout(10_000),
	})
	if (!answer.ok) throw new Error(`Microsoft Graph answered ${answer.status}.`)
	const { displayName } = (await answer.json()) as { displayName: string }
	console.log(`The report of ${displayName} was made in a thread of its own.`)
	broker.close()
}
