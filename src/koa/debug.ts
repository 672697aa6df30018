import { createRequire } from 'node:module'
import type { Context, Next } from 'koa'
import type { TokenBroker } from '../broker.js'
import { BrokerError } from '../errors.js'
import type { SessionLike } from '../session.js'
import type { Settings } from '../settings.js'
import type { Login } from './login.js'
import { protect } from './page.js'
import { accountOf } from './signed-in.js'

/**
 * What a developer wants to know of who is signed in: field by field what may be shown, so that nothing comes along by
 * being added to a session, a token or the settings. For nobody it is as if there was no such route.
 */
export async function debug(ctx: Context, next: Next, login: Login): Promise<void> {
	const { broker, settings, session } = login
	const account = ctx.method === 'GET' ? await accountOf(ctx, login) : undefined
	if (!account) {
		await next()
		return
	}
	const { objectId, tenantId, homeAccountId } = account
	protect(ctx)
	ctx.body = {
		account: { objectId, tenantId, homeAccountId },
		token: await tokenOf(broker, session(ctx)),
		versions: { 'koa-msal': ownVersion(), node: process.version },
		statistics: broker.statistics,
		settings: shownOf(settings),
	}
}

function shownOf({ auth, session, graph, downstream, outOfBand, ...settings }: Settings): object {
	const { clientId, authority, redirectUri, allowedTenants, clientCapabilities, responseMode } = auth
	const { idleTimeout, absoluteTimeout } = session
	const { scopes, paths, basePath, logoutTargets, keepOnSignIn, profile, debug } = settings
	return {
		auth: { clientId, authority, redirectUri, allowedTenants, clientCapabilities, responseMode },
		scopes,
		paths,
		basePath,
		logoutTargets,
		keepOnSignIn,
		session: { idleTimeout, absoluteTimeout },
		profile,
		graph: { endpoint: graph.endpoint },
		downstream: { allowedHosts: downstream.allowedHosts },
		outOfBand: { scopes: outOfBand.scopes },
		debug,
	}
}

async function tokenOf(broker: TokenBroker, session: SessionLike): Promise<object> {
	try {
		const { scopes, expiresOn, refreshOn, outcome } = await broker.acquireSilent(session)
		return { scopes, expiresOn, refreshOn, outcome }
	} catch (error) {
		return { error: error instanceof BrokerError ? error.code : 'unknown' }
	}
}

function ownVersion(): string {
	const { version } = createRequire(import.meta.url)('../../../package.json') as { version: string }
	return version
}
