import { spawnSync } from 'node:child_process'
import { accessSync, constants, readFileSync, statSync } from 'node:fs'
import { delimiter, isAbsolute, join, resolve } from 'node:path'

/** The programs that the tests start and that no npm package brings. */
export type ProgramName = 'redis-server' | 'chromium'

export interface SearchPlace {
	readonly env?: Readonly<Record<string, string | undefined>>
	readonly platform?: NodeJS.Platform
}

interface Program {
	readonly name: ProgramName
	/** Environment variables that name the program, the strongest first. */
	readonly variables: readonly string[]
	readonly commands: readonly string[]
	readonly macApplications: readonly string[]
	readonly debianPackage: string
	readonly brewInstall: string
}

const PROGRAMS: readonly Program[] = [
	{
		name: 'redis-server',
		variables: ['REDIS_SERVER_BIN'],
		commands: ['redis-server', 'valkey-server'],
		macApplications: [],
		debianPackage: 'redis-server',
		brewInstall: 'brew install redis',
	},
	{
		name: 'chromium',
		variables: ['CHROME_BIN', 'CHROMIUM_BIN'],
		commands: ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'],
		macApplications: [
			'/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
			'/Applications/Chromium.app/Contents/MacOS/Chromium',
		],
		debianPackage: 'chromium',
		brewInstall: 'brew install --cask google-chrome',
	},
]

function isExecutable(path: string): boolean {
	try {
		accessSync(path, constants.X_OK)
		return statSync(path).isFile()
	} catch {
		return false
	}
}

function onPath(command: string, env: SearchPlace['env']): string | undefined {
	return (env?.PATH ?? '')
		.split(delimiter)
		.filter((folder) => folder !== '')
		.map((folder) => join(folder, command))
		.find(isExecutable)
}

/**
 * The path of a program, or `undefined` when this machine does not have it.
 * A variable that is set decides alone: a wrong one is an error, because falling back to another
 * build than the one that was asked for would go unnoticed.
 * @throws Error when the variable names nothing that can be run
 */
export function findProgram(name: ProgramName, place: SearchPlace = {}): string | undefined {
	const { env = process.env, platform = process.platform } = place
	const program = PROGRAMS.find((candidate) => candidate.name === name)
	if (program === undefined) throw new Error(`there is no program named ${name} in the list`)
	for (const variable of program.variables) {
		const value = env[variable]
		if (value === undefined || value === '') continue
		const found = /[\\/]/.test(value) ? resolve(value) : onPath(value, env)
		if (found === undefined || !isExecutable(found)) {
			throw new Error(`${variable} is "${value}", which is not a program that can be run`)
		}
		return found
	}
	for (const command of program.commands) {
		const found = onPath(command, env)
		if (found !== undefined) return found
	}
	return platform === 'darwin'
		? program.macApplications.find((path) => isAbsolute(path) && isExecutable(path))
		: undefined
}

function isDebianLike(): boolean {
	try {
		return /^ID(?:_LIKE)?=.*(?:debian|ubuntu)/m.test(readFileSync('/etc/os-release', 'utf8'))
	} catch {
		return false
	}
}

function aptInstall(packages: readonly string[]): void {
	const apt = (...args: string[]): void => {
		process.stdout.write(`> apt-get ${args.join(' ')}\n`)
		// No exit code is looked at: a package that is installed but whose service could not start
		// makes apt-get fail, and only the program matters here.
		spawnSync('apt-get', args, {
			stdio: ['ignore', 'inherit', 'inherit'],
			env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
		})
	}
	apt('update')
	apt('install', '-y', '--no-install-recommends', ...packages)
}

/**
 * Sees to it that the given programs are there: as root on Debian or Ubuntu it installs what is
 * missing, anywhere else it ends the process and says which command does.
 */
export function requirePrograms(names: readonly ProgramName[] = ['redis-server', 'chromium']): void {
	const missing = (): Program[] =>
		PROGRAMS.filter(({ name }) => names.includes(name) && findProgram(name) === undefined)
	try {
		let absent = missing()
		if (absent.length === 0) return
		const said = absent.map(({ name }) => name).join(' and ')
		const hasApt = onPath('apt-get', process.env) !== undefined && isDebianLike()
		if (hasApt && process.getuid?.() === 0) {
			console.log(`The tests need ${said}, which this machine does not have: installing.`)
			aptInstall(absent.map(({ debianPackage }) => debianPackage))
			absent = missing()
			if (absent.length === 0) return
		}
		console.error(`The tests need ${absent.map(({ name }) => name).join(' and ')}. Install with:`)
		if (process.platform === 'darwin') {
			for (const { brewInstall } of absent) console.error(`  ${brewInstall}`)
		} else {
			const packages = absent.map(({ debianPackage }) => debianPackage).join(' ')
			console.error(`  sudo apt-get update && sudo apt-get install -y --no-install-recommends ${packages}`)
		}
		for (const { name, variables } of absent) {
			console.error(`or set ${variables[0]} to the path of your own ${name}.`)
		}
	} catch (error) {
		console.error(error instanceof Error ? error.message : error)
	}
	process.exit(1)
}
