import { readFileSync } from 'node:fs'
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import type { TokenBroker } from '../broker.js'
import { BrokerError } from '../errors.js'
import { redisTokenStore } from '../redis-token-store.js'
import type { CleanOptions, SessionFilter } from '../sessions.js'
import type { UserReference } from '../wire.js'
import { check } from './check.js'
import { parseDays } from './days.js'
import { type ImportOptions, importSessions } from './import.js'
import { createOutput, type Output, printable, type Terminal } from './output.js'
import { cleanSessions } from './sessions-clean.js'
import { findSessions } from './sessions-find.js'
import { listSessions } from './sessions-list.js'
import { revokeSessions } from './sessions-revoke.js'
import { parseUser, parseUserOrId } from './user.js'
import { type SettingsSource, withBroker } from './with-broker.js'

/** Options of every command. */
interface CommonOptions {
	readonly env?: string | undefined
	readonly prefix?: string | undefined
	readonly json?: true
}

const exitCodes = { ok: 0, failed: 1, usage: 2 } as const

/** Runs one command. @returns the exit code: 0, 1 when it failed, 2 when it was not understood */
export async function run(argv: readonly string[], terminal: Terminal): Promise<number> {
	let ok = true
	const json = argv.includes('--json')
	const output = createOutput(terminal, json)
	const program = new Command('koa-msal')
		.description('Looks after the sessions of an application that signs people in with koa-msal.')
		.version(version())
		// Not `--env-file`: Node takes that for its own, wherever it stands, and what is in the file for its options.
		.option('--env <file>', 'file of NAME=value lines; what the environment says counts before it')
		.option('--prefix <prefix>', 'put before the names of environment variables, like X_')
		.option('--json', 'answer programs: JSON, one document a line')
		.showHelpAfterError('(--help says what there is)')
		.configureOutput({
			writeOut: (text) => terminal.stdout.write(text),
			// Programs are told below.
			writeErr: (text) => json || terminal.stderr.write(printable(text)),
		})
		.exitOverride()

	/** An action that gets a broker, what the command line says, and where to write. */
	const action =
		<A>(
			work: (
				broker: TokenBroker,
				output: Output,
				given: A,
				options: Record<string, unknown>,
			) => Promise<void>,
		) =>
		async (...args: unknown[]) => {
			const command = args.at(-1) as Command
			const { json: _, env, prefix, ...options } = command.optsWithGlobals<CommonOptions>()
			await withBroker(sourceOf(terminal, { env, prefix }), (broker) =>
				work(broker, output, args[0] as A, options),
			)
		}

	const sessions = program.command('sessions').description('who is signed in')
	sessions
		.command('list')
		.description('lists all sessions; with --json, one a line')
		.option('--tenant-id <id>', 'of one tenant')
		.option('--object-id <id>', 'of one object id')
		.action(action((broker, out, _, filter) => listSessions(broker, out, filter as SessionFilter)))
	sessions
		.command('find')
		.description('lists the sessions of one user')
		.argument('<user>', '<tenant id>/<object id> or <tenant id>/<mail address>', parseUser)
		.action(action<UserReference>(findSessions))
	sessions
		.command('revoke')
		.description('ends one session, or all of one user, everywhere and at once')
		.argument('<user|id>', 'a user, as for find, or the id of a session', parseUserOrId)
		.action(action<UserReference | string>(revokeSessions))
	sessions
		.command('clean')
		.description('removes what serves nobody any more; safe while people sign in')
		.option('--older-than <days>', 'ends sessions that began longer ago', parseDays)
		.option('--unknown-secrets', 'removes what is sealed under a secret that is not among these, too')
		.action(action((broker, out, _, options) => cleanSessions(broker, out, options as CleanOptions)))

	program
		.command('check')
		.description('says whether the settings are right, and what they name can be reached')
		.action(async (_options: unknown, command: Command) => {
			ok = await check(sourceOf(terminal, command.optsWithGlobals<CommonOptions>()), output)
		})

	program
		.command('import')
		.description('brings over the sessions of aiohttp_msal, for the setting legacyCookie to exchange')
		.option('--from <url>', 'the Redis that they are in (or KOA_MSAL_IMPORT_FROM); default: the store’s')
		.option('--cookie-name <name>', 'the original’s COOKIE_NAME', parseCookieName)
		.addOption(
			new Option('--max-age <days>', 'the original’s max_age')
				.argParser(parseDays)
				.default(parseDays('90'), '90'),
		)
		.option('--dry-run', 'changes nothing', false)
		.option('--delete', 'deletes the records that were imported, now or before', false)
		.action(
			action(async (broker, out, _, given) => {
				// A URL with a password is better in the environment: everybody on the machine can read a command line.
				const { from = terminal.env.KOA_MSAL_IMPORT_FROM, ...flags } = given as unknown as ImportFlags
				await importSessions(broker, out, {
					...flags,
					...(from && { from: redisTokenStore(from).connection }),
				})
			}),
		)

	try {
		await program.parseAsync([...argv], { from: 'user' })
		return ok ? exitCodes.ok : exitCodes.failed
	} catch (error) {
		return tell(error, output, json)
	}
}

function sourceOf({ env: environment }: Terminal, { env: envFile, prefix }: CommonOptions): SettingsSource {
	return { environment, ...(envFile !== undefined && { envFile }), ...(prefix !== undefined && { prefix }) }
}

type ImportFlags = Omit<ImportOptions, 'from'> & { readonly from?: string }

/** What failed, without a stack: a message of this library holds no secret, and others' may. */
function tell(error: unknown, output: Output, json: boolean): number {
	if (error instanceof CommanderError) {
		if (error.exitCode === 0) return exitCodes.ok
		// Commander has told people.
		if (json) output.fail('ERR_USAGE', usageOf(error))
		return exitCodes.usage
	}
	if (!(error instanceof BrokerError)) {
		output.fail(
			'ERR_UNEXPECTED',
			`Something failed that should not: ${error instanceof Error ? error.name : 'unknown'}.`,
		)
		return exitCodes.failed
	}
	output.fail(error.code, error.message)
	return error.code === 'ERR_BAD_REQUEST' ? exitCodes.usage : exitCodes.failed
}

/** What commander says, in a sentence; of a command that is missing it says the whole help, which is for people. */
function usageOf({ code, message }: CommanderError): string {
	if (code === 'commander.help') return 'A command is missing: --help says what there is.'
	return message.replace(/^error: /, '')
}

function parseCookieName(name: string): string {
	if (!/^[\w-]{1,64}$/.test(name)) throw new InvalidArgumentError('It should be of letters, digits, - and _.')
	return name
}

function version(): string {
	const manifest = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')
	return (JSON.parse(manifest) as { version: string }).version
}
