import { TokenBroker } from '../broker.js'
import { withEnvironment } from '../environment.js'
import { BrokerError } from '../errors.js'
import { resolveSettings, type Settings } from '../settings.js'

/** Where the settings come from: the environment, and what the command line says of it. */
export interface SettingsSource {
	readonly environment: Readonly<Record<string, string | undefined>>
	readonly envFile?: string
	readonly prefix?: string
}

/** @throws ERR_CONFIG naming every setting that is missing or wrong */
export function readSettings({ environment, envFile, prefix }: SettingsSource): Settings {
	return resolveSettings(
		withEnvironment(
			{
				...(envFile !== undefined && { envFile }),
				...(prefix !== undefined && { environmentPrefix: prefix }),
				// One command at a time needs no more, and starts the sooner.
				pool: { threads: 1 },
			},
			environment,
		),
	)
}

/**
 * Lends a broker to a command that works on what is stored.
 * @throws ERR_CONFIG as well when the store is in the memory of the application's own process
 */
export async function withBroker(
	source: SettingsSource,
	work: (broker: TokenBroker) => Promise<void>,
): Promise<void> {
	const settings = readSettings(source)
	if (settings.store.kind === 'memory')
		throw new BrokerError(
			'ERR_CONFIG',
			'There is no Redis in the settings (REDIS_URL), and sessions in memory are in the application alone.',
		)
	const broker = await TokenBroker.start(settings)
	try {
		await work(broker)
	} finally {
		await broker.close()
	}
}
