import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { RedisOptions } from 'ioredis'
import { startRedis, type TestRedis } from './redis.js'
import { sentinelRights, serverRights } from './redis-rights.js'

/** Sentinel's name for the servers. */
export const watchedName = 'tokens'

const password = 'a password'
const appPassword = 'password-of-the-app'
const sentinelPassword = 'another password'

/** A Redis, its replica, and three sentinels, to whom it is down after half a second. */
export interface WatchedRedis {
	readonly primary: TestRedis
	readonly replica: TestRedis
	readonly sentinels: readonly TestRedis[]
	/** For `redisTokenStore`; with the rights that the README lists, and no other. */
	readonly connection: Omit<RedisOptions, 'replyMapping'>
	/** Every sentinel knows the two others and the replica, and finds all of them well. */
	isWatched(): Promise<boolean>
	/** Every sentinel says that the replica is the primary now, and it is. */
	hasSwitched(): Promise<boolean>
	/** From now on the replica is called the primary. */
	changePlaces(): void
	/** Waits until the replica has all that the primary has. */
	follow(): Promise<void>
	stop(): Promise<void>
}

/** @returns milliseconds until it came true */
export async function until(condition: () => Promise<boolean>, milliseconds: number): Promise<number> {
	const began = performance.now()
	while (!(await condition())) {
		assert.ok(performance.now() - began < milliseconds, `not within ${milliseconds} ms: ${condition}`)
		await sleep(20)
	}
	return Math.round(performance.now() - began)
}

export async function startWatchedRedis(): Promise<WatchedRedis> {
	const args = ['--masterauth', password, '--repl-diskless-sync-delay', '0']
	args.push('--user', 'app', 'on', `>${appPassword}`, ...serverRights.rules)
	let [primary, replica] = (await Promise.all(
		Array.from({ length: 2 }, () => startRedis({ tcp: true, password, args })),
	)) as [TestRedis, TestRedis]
	const follow = async () => {
		await replica.client().replicaof('127.0.0.1', primary.port as number)
		await until(async () => /master_link_status:up/.test(await replica.client().info('replication')), 20_000)
	}
	await follow()
	const config = [
		`sentinel monitor ${watchedName} 127.0.0.1 ${primary.port} 2`,
		`sentinel auth-pass ${watchedName} "${password}"`,
		`sentinel down-after-milliseconds ${watchedName} 500`,
		`sentinel failover-timeout ${watchedName} 2000`,
		`sentinel sentinel-pass "${sentinelPassword}"`,
	]
	const sentinels = await Promise.all(
		Array.from({ length: 3 }, () =>
			startRedis({ tcp: true, password: sentinelPassword, config, args: ['--sentinel'] }),
		),
	)
	for (const sentinel of sentinels)
		await sentinel.client().acl('SETUSER', 'watcher', 'on', `>${sentinelPassword}`, ...sentinelRights.rules)

	const addressOf = async (sentinel: TestRedis) => {
		const address = await sentinel.client().call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', watchedName)
		return Number((address as string[])[1])
	}
	const watched: WatchedRedis = {
		get primary() {
			return primary
		},
		get replica() {
			return replica
		},
		sentinels,
		connection: {
			sentinels: sentinels.map(({ port }) => ({ host: '127.0.0.1', port: port as number })),
			name: watchedName,
			username: 'app',
			password: appPassword,
			sentinelUsername: 'watcher',
			sentinelPassword,
		},
		async isWatched() {
			const known = await Promise.all(
				sentinels.map(async (sentinel) => {
					const [replicas, others] = (await Promise.all(
						['REPLICAS', 'SENTINELS'].map((what) => sentinel.client().call('SENTINEL', what, watchedName)),
					)) as string[][][]
					return [replicas, others].map((list = []) =>
						list.map((fields) => fields[fields.indexOf('flags') + 1]),
					)
				}),
			)
			return known.every((lists) => lists.flat().sort().join() === 'sentinel,sentinel,slave')
		},
		hasSwitched: async () =>
			(await Promise.all(sentinels.map(addressOf))).every((port) => port === replica.port) &&
			/role:master/.test(await replica.client().info('replication')),
		changePlaces() {
			;[primary, replica] = [replica, primary]
		},
		follow,
		async stop() {
			await Promise.all([primary, replica, ...sentinels].map((server) => server.stop()))
		},
	}
	await until(watched.isWatched, 20_000)
	return watched
}
