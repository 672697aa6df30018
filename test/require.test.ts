import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../', import.meta.url))

/** Node loads modules with `require` unless something in their graph awaits at its top level. */
function requires(name: string): {
	readonly status: number | null
	readonly stdout: string
	readonly stderr: string
} {
	const code = `console.log(Object.keys(require(${JSON.stringify(name)})).sort().join(' '))`
	// In the package's own folder, its name resolves to itself.
	return spawnSync(process.execPath, ['-e', code], {
		cwd: root,
		encoding: 'utf8',
		env: { PATH: process.env.PATH },
	})
}

describe('require', () => {
	for (const [name, verbs] of [
		['koa-msal', ['BrokerError', 'createMsalRoutes', 'koaMsal', 'requireSignedIn']],
		['koa-msal/remote', ['connectBroker', 'exposeBroker']],
	] as const)
		it(`loads ${name} in a CommonJS application`, {
			skip: canRequireModules() ? false : 'this Node can’t',
		}, () => {
			const { status, stdout, stderr } = requires(name)
			assert.equal(status, 0, stderr)
			for (const verb of verbs) assert.ok(stdout.split(/\s/).includes(verb), verb)
		})
})

/** https://nodejs.org/api/modules.html#loading-ecmascript-modules-using-require */
function canRequireModules(): boolean {
	return (process.features as { readonly require_module?: boolean }).require_module === true
}
