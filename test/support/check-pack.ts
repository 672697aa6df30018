// Packs the package as it would be published, looks at it from outside, installs it and uses it.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
	copyFileSync,
	existsSync,
	mkdirSync,
	mkdtempSync,
	readdirSync,
	readFileSync,
	rmSync,
	writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { signInOnce } from './pack-sign-in.js'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const bin = (name: string): string => join(root, 'node_modules', '.bin', name)

interface Manifest {
	readonly files: readonly string[]
	readonly devDependencies: Readonly<Record<string, string>>
}
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Manifest

function run(folder: string, command: string, ...args: string[]): string {
	const { status, stdout, stderr, error } = spawnSync(command, args, {
		cwd: folder,
		encoding: 'utf8',
		env: { ...process.env, npm_config_update_notifier: 'false' },
		maxBuffer: 64 * 1024 * 1024,
	})
	if (error !== undefined) throw error
	if (status !== 0) {
		throw new Error(`${[command, ...args].join(' ')} ended with ${status}\n${stdout}${stderr}`)
	}
	return stdout
}

function none(list: readonly string[], complaint: string): void {
	if (list.length > 0) throw new Error([`${complaint}:`, ...list].join('\n  '))
}

/** What the tarball may hold: only what somebody who installs the package needs. */
const ALLOWED = [
	/^(?:README\.md|CHANGELOG\.md|SECURITY\.md|LICENSE|package\.json)$/,
	/^dist\/(?:src|workers)\/(?:[\w-]+\/)*[\w-]+(?:\.c?js|\.c?js\.map|\.d\.c?ts)$/,
	// What the README leads to; the demo needs the stand-in, which is not part of the package.
	/^(?:docs\/(?:from-aiohttp-msal|operations)\.md|examples\/(?:existing-app\/)?[\w-]+\.ts)$/,
]

function checkContents(tarball: string): void {
	const paths = run(root, 'tar', '-tzf', tarball)
		.split('\n')
		.filter((line) => line !== '' && !line.endsWith('/'))
		.map((line) => line.replace(/^package\//, ''))
	const foreign = paths.filter((path) => !ALLOWED.some((pattern) => pattern.test(path)))
	none(foreign, 'the tarball holds files that nobody who installs it needs')
	for (const wanted of [...manifest.files, 'package.json']) {
		const [folder = ''] = wanted.split('/*')
		const there = paths.some((path) => path === wanted || path.startsWith(`${folder}/`))
		assert.ok(there, `package.json promises ${wanted}, and the tarball does not hold it`)
	}
	const stale = paths.filter((path) => {
		const source = path.replace(/^dist\//, '').replace(/(?:\.d)?\.(c?)[jt]s(?:\.map)?$/, '.$1ts')
		return path.startsWith('dist/') && !existsSync(join(root, source))
	})
	none(stale, 'compiled files whose source is gone: remove dist/ and build again')
	console.log(`  ${paths.length} files`)
}

/** A CommonJS application's view of it, compiled and run. */
const COMMONJS_CONSUMER = `import msal = require('koa-msal')
import remote = require('koa-msal/remote')

const verbs: unknown[] = [msal.koaMsal, msal.createMsalRoutes, msal.requireSignedIn, remote.exposeBroker]
if (verbs.some((verb) => typeof verb !== 'function')) throw new Error('a verb is missing')
console.log(msal.BrokerError.name)
`

const TYPED_CONSUMER = `import Koa from 'koa'
import { type AcquiredToken, koaMsal } from 'koa-msal'

const { broker, msalSession, msalRoutes } = await koaMsal()
const app = new Koa()
app.use(msalSession)
app.use(msalRoutes)
app.use(async (ctx) => {
	const token: AcquiredToken = await broker.acquireSilent(ctx.session, { scopes: ['User.Read'] })
	ctx.body = { outcome: token.outcome }
})
`

/** Type-checks an application of ten lines against the installed types, the way its author would. */
function checkTypes(folder: string): void {
	// Koa's types come with the package, which names them in its own.
	const types = `@types/node@${manifest.devDependencies['@types/node']}`
	run(folder, 'npm', 'install', '--ignore-scripts', '--no-audit', '--no-fund', '--save-dev', types)
	writeFileSync(join(folder, 'app.ts'), TYPED_CONSUMER)
	writeFileSync(join(folder, 'commonjs.cts'), COMMONJS_CONSUMER)
	writeFileSync(
		join(folder, 'tsconfig.json'),
		JSON.stringify({
			compilerOptions: {
				module: 'nodenext',
				target: 'es2023',
				lib: ['es2023'],
				types: ['node'],
				strict: true,
				exactOptionalPropertyTypes: true,
				noUncheckedIndexedAccess: true,
				skipLibCheck: false,
			},
			files: ['app.ts', 'commonjs.cts'],
		}),
	)
	const { status, stdout, error } = spawnSync(bin('tsc'), ['-p', '.', '--pretty', 'false'], {
		cwd: folder,
		encoding: 'utf8',
	})
	// Without skipLibCheck tsc judges every package's types; the other packages' are not ours to mend.
	const ours = stdout
		.split('\n')
		.filter((line) => / error TS\d+/.test(line) || /^error TS/.test(line))
		.filter((line) => !/^node_modules\/(?!koa-msal\/)/.test(line))
	const ran = status === 0 || /error TS\d+/.test(stdout)
	assert.ok(ran, `tsc did not check anything: ${error?.message ?? stdout}`)
	none(ours, 'an application does not compile against the installed types')
}

/** Node 20.19 and later load modules with `require`, unless something in their graph awaits at its top level. */
function checkRequire(folder: string): void {
	const { require_module: can = false } = process.features as { readonly require_module?: boolean }
	if (can) assert.equal(run(folder, process.execPath, 'commonjs.cjs').trim(), 'BrokerError')
	else console.log(`  not with Node ${process.version}`)
}

const started = performance.now()
const folder = mkdtempSync(join(tmpdir(), 'koa-msal-pack-'))
process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
const step = async (name: string, work: () => unknown): Promise<void> => {
	const since = performance.now()
	console.log(name)
	await work()
	console.log(`  ok (${((performance.now() - since) / 1_000).toFixed(1)} s)`)
}

try {
	let tarball = ''
	const application = join(folder, 'application')
	await step('npm pack', () => {
		run(root, 'npm', 'pack', '--pack-destination', folder)
		const [file, ...others] = readdirSync(folder).filter((name) => name.endsWith('.tgz'))
		assert.ok(file !== undefined && others.length === 0, 'npm pack made one tarball')
		tarball = join(folder, file)
	})
	await step('The tarball holds what it should, and nothing else', () => checkContents(tarball))
	await step('publint finds nothing', () => run(root, bin('publint'), 'run', tarball, '--strict'))
	await step('The types resolve for ESM', () => run(root, bin('attw'), tarball, '--profile', 'esm-only'))
	await step('It installs beside koa, without install scripts', () => {
		mkdirSync(application)
		const own = { name: 'application', version: '1.0.0', private: true, type: 'module' }
		writeFileSync(join(application, 'package.json'), JSON.stringify(own))
		run(application, 'npm', 'install', '--ignore-scripts', '--no-audit', '--no-fund', tarball, 'koa@3')
		copyFileSync(join(root, 'test/support/pack-consumer.mjs'), join(application, 'consumer.mjs'))
	})
	await step('npx koa-msal says what there is', () => {
		// Offline, so that it can be no other package's.
		const help = run(application, 'npx', '--no-install', '--offline', 'koa-msal', '--help')
		for (const name of ['sessions', 'check', 'import']) assert.match(help, new RegExp(`\\b${name}\\b`))
		const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
		assert.equal(
			run(application, 'npx', '--no-install', '--offline', 'koa-msal', '--version').trim(),
			version,
		)
	})
	await step('It signs somebody in', () => signInOnce(join(application, 'consumer.mjs')))
	await step('An application in strict TypeScript compiles against it', () => checkTypes(application))
	await step('A CommonJS application requires it', () => checkRequire(application))
	console.log(`The packed package works (${((performance.now() - started) / 1_000).toFixed(1)} s).`)
} catch (error) {
	console.error(error instanceof Error ? error.message : error)
	process.exitCode = 1
}
