import { parseArgs } from 'node:util'

/** Each setting: its option on the command line, its environment variable and what it means. */
const OPTIONS = {
	port: ['IDP_PORT', 'Port of token endpoint, keys and discovery (https); 0 is any. Default 0'],
	'pages-port': ['IDP_PAGES_PORT', 'Port of the pages (http). Default 0'],
	'pages-host': ['IDP_PAGES_HOST', 'Host of the pages. Default 127.0.0.1'],
	'graph-port': ['GRAPH_PORT', 'Port of the Graph stub (https). Default 0'],
	'ca-file': ['IDP_CA_FILE', 'Where to write the certificate to trust. Default: a new private directory'],
	'redirect-uri': ['IDP_REDIRECT_URI', 'Space-separated. Default http://localhost:3000/auth/redirect'],
	'post-logout-redirect-uri': [
		'IDP_POST_LOGOUT_REDIRECT_URI',
		'Space-separated. Default http://localhost:3000/',
	],
	'frontchannel-logout-uri': ['IDP_FRONTCHANNEL_LOGOUT_URI', 'Loaded in a frame at sign-out. Default none'],
	'client-id': ['IDP_CLIENT_ID', 'Default: that of the built-in web application'],
	'client-secret': ['IDP_CLIENT_SECRET', 'Default: that of the built-in web application'],
	rotation: ['IDP_ROTATION', 'Refresh tokens: entra or strict. Default entra'],
	'auto-login': ['IDP_AUTO_LOGIN', 'Sign in without asking: true, hinted or false. Default false'],
	'access-token-ttl': ['IDP_ACCESS_TOKEN_TTL', 'Seconds. Default 3600'],
	'refresh-in': ['IDP_REFRESH_IN', 'Seconds after which clients are told to refresh. Default: not told'],
} as const

type Option = keyof typeof OPTIONS

/** What the process is told. */
export interface Settings {
	readonly help: boolean
	readonly port: number
	readonly pagesPort: number
	readonly pagesHost: string
	readonly graphPort: number
	readonly caFile?: string
	readonly redirectUris?: readonly string[]
	readonly postLogoutRedirectUris?: readonly string[]
	readonly frontchannelLogoutUri?: string
	readonly clientId?: string
	readonly clientSecret?: string
	readonly rotation: 'entra' | 'strict'
	readonly autoLogin: boolean | 'hinted'
	readonly accessTokenTtl?: number
	readonly refreshIn?: number
}

/** The text of `--help`. */
export const USAGE = [
	'Entra stand-in and Graph stub for development; listens on loopback only.',
	'',
	...Object.entries(OPTIONS).map(
		([name, [variable, meaning]]) => `  --${name}, ${variable}\n      ${meaning}`,
	),
].join('\n')

/**
 * Reads the command line, then the environment.
 * @throws {Error} naming the setting that cannot be understood
 */
export function readSettings(argv: readonly string[], env: NodeJS.ProcessEnv): Settings {
	const names = Object.keys(OPTIONS) as Option[]
	const { values } = parseArgs({
		args: [...argv],
		options: {
			help: { type: 'boolean' },
			...Object.fromEntries(names.map((name) => [name, { type: 'string' as const }])),
		},
	})
	const given = values as Partial<Record<Option, string>>
	const read = (name: Option) => given[name] ?? (env[OPTIONS[name][0]] || undefined)
	const number = (name: Option) => {
		const written = read(name)
		if (written !== undefined && !/^\d+$/.test(written)) throw misread(name, written, 'a whole number')
		return written === undefined ? undefined : Number(written)
	}
	const choice = <T extends string>(name: Option, choices: readonly T[], fallback: T): T => {
		const written = read(name) ?? fallback
		const chosen = choices.find((candidate) => candidate === written)
		if (chosen === undefined) throw misread(name, written, choices.join(' or '))
		return chosen
	}
	const autoLogin = choice('auto-login', ['true', 'hinted', 'false'], 'false')
	return {
		help: values.help === true,
		port: number('port') ?? 0,
		pagesPort: number('pages-port') ?? 0,
		pagesHost: read('pages-host') ?? '127.0.0.1',
		graphPort: number('graph-port') ?? 0,
		rotation: choice('rotation', ['entra', 'strict'], 'entra'),
		autoLogin: autoLogin === 'hinted' ? autoLogin : autoLogin === 'true',
		...optional('caFile', read('ca-file')),
		...optional('redirectUris', read('redirect-uri')?.split(' ')),
		...optional('postLogoutRedirectUris', read('post-logout-redirect-uri')?.split(' ')),
		...optional('frontchannelLogoutUri', read('frontchannel-logout-uri')),
		...optional('clientId', read('client-id')),
		...optional('clientSecret', read('client-secret')),
		...optional('accessTokenTtl', number('access-token-ttl')),
		...optional('refreshIn', number('refresh-in')),
	}
}

function optional<Key extends keyof Settings>(
	key: Key,
	value: Settings[Key] | undefined,
): Partial<Pick<Settings, Key>> {
	return value === undefined ? {} : ({ [key]: value } as unknown as Pick<Settings, Key>)
}

function misread(name: Option, written: string, expected: string): Error {
	return new Error(`--${name} (${OPTIONS[name][0]}) must be ${expected}, not ${JSON.stringify(written)}`)
}
