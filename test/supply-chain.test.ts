import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../', import.meta.url))
const read = (path: string) => readFileSync(join(root, path), 'utf8')
const manifest = JSON.parse(read('package.json')) as Record<
	'dependencies' | 'devDependencies' | 'peerDependencies',
	Readonly<Record<string, string>>
>

/** The packages that the first cells of a section's table name, `@types/*` among them. */
function listed(section: string): string[] {
	const [, text = ''] = read('docs/dependencies.md').split(`## ${section}\n`)
	return (text.split('\n## ')[0] ?? '')
		.split('\n')
		.filter((line) => /^\| `/.test(line))
		.flatMap((line) => (line.split('|')[1] ?? '').match(/(?<=`)[@\w][^`\s]*(?=`)/g) ?? [])
}

describe('what the package depends on', () => {
	it('is what docs/dependencies.md justifies, package by package', () => {
		const atRunTime = [...Object.keys(manifest.dependencies), ...Object.keys(manifest.peerDependencies)]
		assert.deepEqual(listed('At run time').sort(), atRunTime.sort())
		const named = listed('For development')
		const justified = (name: string) =>
			named.includes(name) || (/^@types\//.test(name) && named.includes('@types/*'))
		const unjustified = Object.keys(manifest.devDependencies).filter((name) => !justified(name))
		assert.deepEqual(
			unjustified.filter((name) => !(name in manifest.peerDependencies)),
			[],
		)
	})

	it('is fixed by the lock file: each package has a version and a hash, and none an address of its own', () => {
		const { packages } = JSON.parse(read('package-lock.json')) as {
			packages: Record<string, { resolved?: string; integrity?: string; version?: string; link?: boolean }>
		}
		const loose = Object.entries(packages)
			.filter(([path]) => path !== '')
			.filter(
				([, { resolved, integrity, version }]) =>
					!version || !integrity?.startsWith('sha512-') || resolved !== undefined,
			)
		assert.deepEqual(loose, [])
	})

	it('is installed without its scripts, wherever this project says how', () => {
		const places = ['README.md', '.ci/run', ...readdirSync(join(root, 'docs')).map((name) => `docs/${name}`)]
		for (const place of places)
			for (const line of read(place).match(/^.*\bnpm ci\b.*$/gm) ?? [])
				assert.match(line, /npm ci --ignore-scripts/, place)
	})
})
