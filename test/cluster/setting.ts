import { createHash } from 'node:crypto'
import { createBrowser } from '../../dev/cookie-jar-browser.js'
import { clientIds, clientSecrets } from '../../dev/directory.js'
import type { EntraStandInOptions } from '../../dev/entra-stand-in.js'
import {
	createTokenBroker,
	type KoaMsalOptions,
	redisTokenStore,
	type SessionTicket,
	type TokenBroker,
} from '../../src/index.js'
import type { ProcessOptions } from '../fixtures/broker-process.js'
import { createWorld, type World } from '../support/application.js'
import { BrokerProcess, type Surroundings } from '../support/broker-process.js'
import type { Whereabouts } from '../support/expire.js'
import { type StartRedisOptions, startRedis, type TestRedis } from '../support/redis.js'

export const secret = 'a test secret of more than 32 bytes: 0123456789'
export const namespaceOf = (clientId: string) =>
	`koa-msal:${createHash('sha256').update(clientId).digest('hex').slice(0, 16)}`
export const namespace = namespaceOf(clientIds.web)

export type Session = { readonly msal: SessionTicket }

/** A provider, a Redis, a broker that signs people in, and as many more processes as a test wants. */
export interface Setting {
	readonly world: World
	readonly redis: TestRedis
	/** In this process. */
	readonly broker: TokenBroker
	options(overrides?: Partial<ProcessOptions>): ProcessOptions
	/** Starts a process that is closed together with the setting. */
	start(overrides?: Partial<ProcessOptions>, surroundings?: Surroundings): Promise<BrokerProcess>
	signIn(loginHint?: string): Promise<Session>
	where(session: Session, secret?: string): Whereabouts
	close(): Promise<void>
}

export async function createSetting(
	provider: Partial<EntraStandInOptions> = {},
	settings: Partial<Omit<KoaMsalOptions, 'auth' | 'store'>> = {},
	connection?: ProcessOptions['redis'],
	server: StartRedisOptions = {},
): Promise<Setting> {
	const [world, redis] = await Promise.all([createWorld(provider), startRedis(server)])
	const client = redis.client()
	const options = (overrides: Partial<ProcessOptions> = {}): ProcessOptions => ({
		auth: {
			clientId: clientIds.web,
			clientSecret: clientSecrets.web,
			authority: world.standIn.authority,
			redirectUri: 'http://localhost/user/authorized',
		},
		secrets: [secret],
		network: { caFile: world.caFile },
		refresh: { lease: 1000 },
		redis: connection ?? { path: redis.path },
		...settings,
		...overrides,
	})
	const { redis: place, ...own } = options()
	const broker = await createTokenBroker({ ...own, store: redisTokenStore(place) })
	const processes = new Set<BrokerProcess>()
	return {
		world,
		redis,
		broker,
		options,
		async start(overrides, surroundings) {
			const one = await BrokerProcess.start(options(overrides), surroundings)
			processes.add(one)
			return one
		},
		signIn: (loginHint = 'ada@contoso.example') => signIn(world, broker, loginHint),
		where: ({ msal }, sealedUnder = secret) => ({
			redis: client,
			namespace,
			secret: sealedUnder,
			clientId: clientIds.web,
			partition: msal.partition,
		}),
		async close() {
			await Promise.all([...processes].map((one) => one.close()))
			await broker.close()
			await Promise.all([redis.stop(), world.close()])
		},
	}
}

/** Signs somebody in without an application: the browser stops in front of it, with the answer in its form. */
export async function signIn(world: World, broker: TokenBroker, loginHint: string): Promise<Session> {
	const { standIn } = world
	const browser = createBrowser({ ca: standIn.ca, origins: [standIn.origin, standIn.pagesOrigin] })
	try {
		const { url, transaction } = await broker.getAuthCodeUrl({ loginHint })
		const page = await browser.follow(url)
		const done = await broker.acquireByCode(page.form?.fields ?? {}, transaction)
		if (done.repeated) throw new Error('a new sign-in was taken for a repeated one')
		return { msal: done.ticket }
	} finally {
		await browser.close()
	}
}
