import { readFileSync } from 'node:fs'

const readme = readFileSync(new URL('../../../README.md', import.meta.url), 'utf8')

function quoted(before: string): string[] {
	const [, text] = new RegExp(`${before} \`([^\`]+)\``).exec(readme) ?? []
	if (text === undefined) throw new Error(`the README does not say: ${before}`)
	return text.split(' ')
}

/** The rights that the README says the library's Redis users need: what `ACL SETUSER` takes, and their commands. */
function rights(patterns: readonly string[], commands: readonly string[]) {
	return { commands, rules: [...patterns, ...commands.map((command) => `+${command}`)] }
}

const patterns = [...quoted('The user needs'), ...quoted('The user needs `[^`]+`,')]
const commands = quoted('and the commands')

export const serverRights = rights(patterns, commands)
export const clusterRights = rights(patterns, [...commands, ...quoted('in a Cluster also')])
export const sentinelRights = rights(
	quoted('A user of the sentinels needs'),
	quoted('A user of the sentinels needs `[^`]+` and the commands'),
)
