import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { clientSecrets, TENANT_ID } from '../dev/directory.js'
import { people } from '../dev/people.js'
import { createOutput } from '../src/cli/output.js'
import { redisTokenStore, type SessionTicket } from '../src/index.js'
import {
	type Application,
	createApplication,
	createWorld,
	environmentOf,
	type World,
} from './support/application.js'
import { koaMsalCommand, koaMsalHere } from './support/command-line.js'
import { startRedis, type TestRedis } from './support/redis.js'

const secret = 'a test secret of more than 32 bytes: 0123456789'
const canary = 'canary-7f3a9'

describe('the command line (the original’s session_iter, session_clean and check_proxy, by hand)', () => {
	let world: World
	let redis: TestRedis
	let app: Application
	let environment: Record<string, string>
	let folder: string
	before(async () => {
		;[world, redis, folder] = await Promise.all([
			createWorld(),
			startRedis({ tcp: true }),
			mkdtemp(join(tmpdir(), 'koa-msal-command-line-')),
		])
		const store = redisTokenStore({ path: redis.path })
		app = await createApplication(world, { secrets: [secret], store, pool: { threads: 1 } })
		environment = {
			...environmentOf(world, app.origin),
			MSAL_SECRETS: secret,
			REDIS_URL: redis.url,
		}
	})
	after(async () => {
		await app.close()
		await Promise.all([redis.stop(), world.close(), rm(folder, { recursive: true })])
	})
	const command = (...args: string[]) => koaMsalHere(args, environment)
	const signIn = async (name: string) => {
		await app.signIn(app.browser(), name)
		return (app.seen.session as { msal: SessionTicket }).msal
	}
	it('says what there is, and its version', async () => {
		const help = await koaMsalCommand(['--help'])
		assert.equal(help.code, 0, help.stderr)
		for (const name of ['sessions', 'check', 'import', '--env <file>', '--prefix', '--json'])
			assert.ok(help.stdout.includes(name), name)
		assert.match((await koaMsalHere(['--version'])).stdout, /^\d+\.\d+\.\d+/)
		assert.equal((await koaMsalHere(['sessions', '--help'])).code, 0)
	})

	it('ends with 2 when it is not understood', async () => {
		for (const argv of [
			[],
			['nothing'],
			['sessions'],
			['sessions', 'find'],
			['sessions', 'find', 'ada@contoso.example'],
			['sessions', 'find', 'a/b/c'],
			['sessions', 'clean', '--older-than', 'soon'],
			['sessions', 'list', '--nothing'],
			['import', '--cookie-name', 'a b'],
		]) {
			const { code, stdout, stderr } = await koaMsalHere(argv)
			assert.deepEqual([code, stdout], [2, ''], argv.join(' '))
			assert.ok(stderr.length > 0 && !/\n\s+at /.test(stderr), stderr)
			const told = await koaMsalHere([...argv, '--json'])
			assert.deepEqual([told.code, told.stdout], [2, ''], argv.join(' '))
			const { error } = JSON.parse(told.stderr) as { error: { code: string; message: string } }
			assert.match(error.code, /^ERR_USAGE$/)
			assert.match(error.message, /^(?!error)\S/)
		}
	})

	it('shows progress to people at a terminal, and to nobody else', () => {
		const shown = (isTTY: boolean, json: boolean) => {
			let stderr = ''
			const write = (text: string) => {
				stderr += text
			}
			const output = createOutput({ stdout: { write: () => {} }, stderr: { write, isTTY } }, json)
			for (const done of [1, 2, 4]) output.progress(done, 4)
			return stderr
		}
		assert.match(shown(true, false), /\r\[#{7}-{23}\] 1 of 4[\s\S]*\r\[#{30}\] 4 of 4\r +\r$/)
		assert.equal(shown(false, false), '')
		assert.equal(shown(true, true), '')
	})

	it('takes from names what would move a terminal’s cursor', () => {
		let stdout = ''
		const write = (text: string) => {
			stdout += text
		}
		const mallory = 'Mallory\u001b[2J\u009b2J\u202e\u2028\u{e0041}\n1 session of somebody else'
		createOutput({ stdout: { write }, stderr: { write } }, false).line(mallory)
		assert.equal(
			stdout,
			`Mallory\u{fffd}[2J${'\u{fffd}2J\u{fffd}'}${'\u{fffd}'.repeat(3)}1 session of somebody else\n`,
		)
		stdout = ''
		createOutput({ stdout: { write }, stderr: { write } }, true).data({ mallory })
		assert.match(stdout, /^[\x20-\x7e]+\n$/)
		assert.deepEqual(JSON.parse(stdout), { mallory })
	})

	it('lists sessions, finds one user’s, and ends them', async () => {
		const [ada] = [await signIn('Ada Lovelace'), await signIn('Charles Babbage')]
		const list = await command('sessions', 'list', '--json')
		assert.equal(list.code, 0, list.stderr)
		const listed = list.json() as { id: string; objectId: string; username: string; expiresOn: string }[]
		assert.deepEqual(listed.map(({ username }) => username).sort(), [people.ada.upn, people.charles.upn])
		assert.ok(listed.every(({ expiresOn }) => Date.parse(expiresOn) > Date.now()))
		const one = await command('sessions', 'list', '--object-id', people.ada.oid)
		assert.match(one.stdout, new RegExp(`${TENANT_ID}/${people.ada.oid} +${people.ada.upn}\n1 session\n$`))

		const found = await command('sessions', 'find', `${TENANT_ID}/${people.ada.upn}`)
		assert.match(found.stdout, /\n1 session\n$/)
		for (const { stdout, stderr } of [list, one, found])
			for (const text of [ada.partition, secret, clientSecrets.web])
				assert.ok(!(stdout + stderr).includes(text))

		const id = listed.find(({ objectId }) => objectId === people.charles.oid)?.id as string
		assert.deepEqual((await command('sessions', 'revoke', id, '--json')).json(), [{ revoked: 1 }])
		assert.match(
			(await command('sessions', 'revoke', `${TENANT_ID}/${people.ada.oid}`)).stdout,
			/^1 session was ended/,
		)
		// Asks the store: the notice of another process's sign-out may come a moment later.
		await assert.rejects(
			app.broker.acquireSilent({ msal: ada }, { forceRefresh: true }),
			/ERR_SIGNED_OUT|no tokens/,
		)
		assert.equal((await command('sessions', 'list')).stdout, '0 sessions\n')
		assert.equal((await command('sessions', 'revoke', 'no-id-at-all')).code, 2)
	})

	it('cleans', async () => {
		await signIn('Ada Lovelace')
		const kept = await command('sessions', 'clean', '--json')
		assert.equal((kept.json()[0] as { older: number }).older, 0, kept.stderr)
		const { stdout } = await command('sessions', 'clean', '--older-than', '0')
		assert.match(stdout, /^1 +older than was asked for, ended$/m)
	})

	it('cleans by the age that sessions have where they end sooner', async () => {
		const day = 86_400_000
		const brief = await createApplication(world, {
			secrets: [secret],
			store: redisTokenStore({ path: redis.path }),
			pool: { threads: 1 },
			session: { absoluteTimeout: day },
		})
		try {
			await brief.signIn(brief.browser(), people.grace.name)
			const { stdout } = await koaMsalHere(['sessions', 'clean', '--older-than', '3', '--json'], {
				...environment,
				MSAL_SESSION_ABSOLUTE_TIMEOUT: String(day),
			})
			assert.equal(JSON.parse(stdout).older, 0, stdout)
			assert.equal(
				(await brief.broker.acquireSilent(brief.seen.session, { forceRefresh: true })).outcome,
				'refreshed',
			)
		} finally {
			await brief.close()
		}
	})

	it('checks the settings and what they name', async () => {
		const passed = await koaMsalCommand(['check', '--json'], environment)
		assert.equal(passed.code, 0, passed.stdout + passed.stderr)
		const [answer] = passed.json() as [
			{ ok: boolean; checks: { name: string; ok: boolean }[]; settings: object },
		]
		assert.equal(answer.ok, true)
		assert.deepEqual(
			answer.checks.map(({ name, ok }) => [name, ok]),
			['settings', 'worker threads', 'authority', 'keys', 'store', 'notices'].map((name) => [name, true]),
		)
		assert.ok(!JSON.stringify(answer).includes(secret) && JSON.stringify(answer.settings).includes('(set, '))
	})

	it('says of each bad setting what is wrong and what it should be, without its value', async () => {
		const bad = {
			...environment,
			AZURE_CLIENT_SECRET: '',
			MSAL_REDIRECT_URI: canary,
			REDIS_URL: `redis://${canary}:x`,
		}
		const failed = await koaMsalHere(['check'], bad)
		assert.equal(failed.code, 1)
		assert.match(failed.stdout, /^FAILED {2}auth\.credential: is missing\n {8}it should be exactly one of/m)
		assert.match(failed.stdout, /^FAILED {2}auth\.redirectUri: is not valid\n {8}it should be/m)
		assert.match(failed.stdout, /^FAILED {2}store: is not valid/m)
		assert.ok(!failed.stdout.includes(canary) && !failed.stderr.includes(canary))
		const other = await koaMsalHere(['sessions', 'list', '--json'], bad)
		assert.equal(other.code, 1)
		const { error } = JSON.parse(other.stderr) as { error: { code: string; message: string } }
		assert.equal(error.code, 'ERR_CONFIG')
		assert.ok(!/\n\s+at /.test(other.stderr) && !other.stderr.includes(canary))
	})

	it('says what can’t be reached, and what to do', async () => {
		const away = { ...environment, REDIS_URL: `redis://:${canary}@127.0.0.1:1` }
		const failed = await koaMsalCommand(['check'], away)
		assert.equal(failed.code, 1, failed.stdout)
		assert.match(failed.stdout, /^FAILED {2}store: .+\n {8}\S/m)
		for (const name of ['settings', 'worker threads', 'authority', 'keys'])
			assert.match(failed.stdout, new RegExp(`^passed {2}${name}$`, 'm'))
		const list = await koaMsalHere(['sessions', 'list'], away)
		assert.equal(list.code, 1)
		for (const { stdout, stderr } of [failed, list])
			assert.ok(!(stdout + stderr).includes(canary) && !/\n\s+at /.test(stderr), stderr)
	})

	it('takes its settings from a file, and names with a prefix', async () => {
		const file = join(folder, '.env')
		const lines = Object.entries(environment).map(([name, value]) => `X_${name}=${JSON.stringify(value)}`)
		await writeFile(file, lines.join('\n'))
		const args = ['--env', file, '--prefix', 'X_', 'sessions', 'list']
		const list = await koaMsalHere(args)
		assert.equal(list.code, 0, list.stderr)
		assert.match(list.stdout, /^\d+ sessions?$/m)
		// Node looks for options of its own behind a script's name, too.
		await writeFile(file, 'NODE_OPTIONS=--nothing-that-node-knows')
		for (const named of [file, join(folder, 'nowhere')]) {
			const failed = await koaMsalCommand(['--env', named, 'sessions', 'list', '--json'])
			assert.equal(failed.code, 1, failed.stderr)
			assert.equal((JSON.parse(failed.stderr) as { error: { code: string } }).error.code, 'ERR_CONFIG')
		}
	})

	it('works on Redis alone: sessions in memory are the application’s own', async () => {
		const { REDIS_URL: _, ...without } = environment
		const list = await koaMsalHere(['sessions', 'list'], without)
		assert.equal(list.code, 1)
		assert.match(list.stderr, /REDIS_URL/)
	})
})
