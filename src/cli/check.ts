import { TokenBroker } from '../broker.js'
import { describe } from '../describe-settings.js'
import { BrokerError } from '../errors.js'
import type { Output } from './output.js'
import { readSettings, type SettingsSource } from './with-broker.js'

/** One line of the answer. */
interface Check {
	readonly name: string
	readonly ok: boolean
	readonly message?: string
	readonly remedy?: string
}

/** Whether the settings are right, and what they name can be reached. @returns whether everything is */
export async function check(source: SettingsSource, output: Output): Promise<boolean> {
	const checks: Check[] = []
	const tell = (one: Check) => {
		checks.push(one)
		output.line(
			`${one.ok ? 'passed' : 'FAILED'}  ${one.name}${one.message === undefined ? '' : `: ${one.message}`}`,
		)
		if (!one.ok && one.remedy !== undefined) output.line(`        ${one.remedy}`)
	}
	let settings: Record<string, unknown> | undefined
	try {
		const resolved = readSettings(source)
		settings = describe(resolved)
		tell({ name: 'settings', ok: true })
		const broker = await TokenBroker.start(resolved)
		try {
			tell({ name: 'worker threads', ok: true })
			for (const one of await broker.checkConnectivity()) tell(one)
		} finally {
			await broker.close()
		}
	} catch (error) {
		if (!(error instanceof BrokerError)) throw error
		if (error.code === 'ERR_CONFIG') for (const one of settingsOf(error)) tell(one)
		else tell({ name: 'worker threads', ok: false, message: error.message })
	}
	const ok = checks.every((one) => one.ok)
	output.data({ ok, checks, ...(settings && { settings }) })
	return ok
}

/** The message of ERR_CONFIG has a line for each setting: what is wrong, and what it should be. */
function settingsOf({ message }: BrokerError): Check[] {
	const lines = message.split('\n').slice(1)
	if (lines.length === 0) return [{ name: 'settings', ok: false, message }]
	return lines.map((line) => {
		const [, name = '', problem = '', remedy] = /^\s*(\S+) (.*?)(?:: (it should be .*))?$/.exec(line) ?? []
		return { name, ok: false, message: problem, ...(remedy !== undefined && { remedy }) }
	})
}
