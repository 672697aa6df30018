/**
 * A job that runs while nobody is there: `node nightly-job.js {tenant id} {object id}`, with the application's own
 * settings in the environment (the same REDIS_URL, MSAL_SECRETS and AZURE_* …). It signs nobody in: the user has
 * signed in to the application, and their session lives still (`session.absoluteTimeout`).
 */
import { subscribe } from 'node:diagnostics_channel'
import { BrokerError, koaMsal } from 'koa-msal'

const [tenantId, objectId] = process.argv.slice(2)
if (!tenantId || !objectId) throw new Error('usage: nightly-job {tenant id} {object id}')
const graph = process.env.GRAPH_ENDPOINT ?? 'https://graph.microsoft.com/v1.0'

// Who, which scopes, what came of it: for your audit log. Never a token.
subscribe('koa-msal:out-of-band', (use) => console.error(JSON.stringify(use)))

const { broker } = await koaMsal({ outOfBand: { scopes: ['User.Read'] } })
try {
	const { accessToken } = await broker.forUser({ tenantId, objectId }, { scopes: ['User.Read'] })
	const answer = await fetch(`${graph}/me`, {
		headers: { Authorization: `Bearer ${accessToken}` },
		redirect: 'error',
		signal: AbortSignal.timeout(10_000),
	})
	if (!answer.ok) throw new Error(`Microsoft Graph answered ${answer.status}.`)
	const { displayName } = (await answer.json()) as { displayName: string }
	console.log(`The report of ${displayName} is done.`)
} catch (error) {
	if (!(error instanceof BrokerError)) throw error
	// ERR_NOT_FOUND and ERR_INTERACTION_REQUIRED: the user has to sign in to the application first.
	console.error(`${error.code}: ${error.message}`)
	process.exitCode = 1
} finally {
	await broker.close()
}
