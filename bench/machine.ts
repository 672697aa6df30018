import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import os from 'node:os'

export function describeMachine() {
	return {
		processor: os.cpus()[0]?.model ?? 'unknown',
		cores: os.availableParallelism(),
		memoryGiB: Math.round(os.totalmem() / 2 ** 30),
		system: `${os.type()} ${os.release()} ${os.arch()}`,
		/** Before the run: above a fraction of the cores, somebody else was at work. */
		loadAverage: os.loadavg()[0] ?? 0,
	}
}

/** @param root the project's folder */
export function describeVersions(root: URL): Record<string, string> {
	const versionOf = (file: string) =>
		(JSON.parse(readFileSync(new URL(file, root), 'utf8')) as { version: string }).version
	const packages = ['@azure/msal-node', 'piscina', 'undici', 'jose']
	return {
		'koa-msal': versionOf('package.json'),
		...commit(root),
		node: process.version,
		v8: process.versions.v8 ?? '',
		openssl: process.versions.openssl ?? '',
		...Object.fromEntries(packages.map((name) => [name, versionOf(`node_modules/${name}/package.json`)])),
	}
}

function commit(root: URL): { commit?: string } {
	try {
		const described = execFileSync('git', ['describe', '--always', '--dirty'], {
			cwd: root,
			encoding: 'utf8',
			stdio: ['ignore', 'pipe', 'ignore'],
		})
		return { commit: described.trim() }
	} catch {
		return {}
	}
}
