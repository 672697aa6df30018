import type { Middleware } from 'koa'
import { TokenBroker } from './broker.js'
import { describe, type SettingsDescription } from './describe-settings.js'
import { withEnvironment } from './environment.js'
import { createMsalRoutes } from './koa/routes.js'
import { type MsalSession, sessionMiddleware } from './koa/session.js'
import { type AuthOptions, type KoaMsalOptions, resolveSettings } from './settings.js'
import { warnOfUnsafeSettings } from './unsafe-settings.js'

/** What {@link koaMsal} takes: what is left out comes from the environment. */
export interface KoaMsalEnvironmentOptions extends Omit<KoaMsalOptions, 'auth'> {
	readonly auth?: Partial<AuthOptions>
	/** Put before the names of environment variables: with `X_`, `X_AZURE_CLIENT_ID` counts before `AZURE_CLIENT_ID`. */
	readonly environmentPrefix?: string
	/**
	 * A file of `NAME=value` lines, like `.env`, read once at the start. What the environment has under the same name
	 * counts before it; `process.env` is not changed. Default: none is read.
	 */
	readonly envFile?: string
}

/** The parts of one application. */
export interface KoaMsal {
	readonly broker: TokenBroker
	/** `app.use` it first: gives `ctx.session`. */
	readonly msalSession: MsalSession
	/** `app.use` it second: the routes that sign people in and out. */
	readonly msalRoutes: Middleware
}

/**
 * Everything an application needs, from options and the environment (`AZURE_CLIENT_ID`, `AZURE_TENANT_ID`,
 * `AZURE_CLIENT_SECRET`, `MSAL_REDIRECT_URI`, `REDIS_URL`, `MSAL_SECRETS`, …). `broker.close()` closes it all.
 * @throws ERR_CONFIG naming every setting that is missing or wrong
 * @throws ERR_WORKER_FAILED when the worker threads do not start
 */
export async function koaMsal(options: KoaMsalEnvironmentOptions = {}): Promise<KoaMsal> {
	const settings = resolveSettings(withEnvironment({ ...options }))
	const broker = await TokenBroker.start(settings)
	warnOfUnsafeSettings(settings)
	const msalSession = sessionMiddleware(settings)
	TokenBroker.closeWith(broker, () => msalSession.close())
	return { broker, msalSession, msalRoutes: createMsalRoutes(broker) }
}

/**
 * The settings that {@link koaMsal} would work with, every one of them, by the names of the options; safe to print:
 * a secret is `(set, 44 bytes)`, a function its name.
 * @throws ERR_CONFIG naming every setting that is missing or wrong
 */
export function describeSettings(options: KoaMsalEnvironmentOptions = {}): SettingsDescription {
	return describe(resolveSettings(withEnvironment({ ...options })))
}
