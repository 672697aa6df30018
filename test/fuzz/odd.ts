import fc from 'fast-check'

/** Names that are somebody else's: of prototypes, of koa-session, of this library. */
export const oddNames = fc.oneof(
	fc.constantFrom(
		...['__proto__', 'constructor', 'prototype', 'toString', 'valueOf', 'hasOwnProperty', 'toJSON', 'then'],
		...[
			'isNew',
			'length',
			'maxAge',
			'externalKey',
			'save',
			'regenerate',
			'commit',
			'_expire',
			'_maxAge',
			'0',
			'-1',
			'',
		],
		...[
			'msal',
			'msalClaims',
			'partition',
			'account',
			'homeAccountId',
			'tenantId',
			'objectId',
			'username',
			'polluted',
		],
	),
	fc.string({ maxLength: 8 }),
)

/** Values where another was meant. What JSON can't say is left out by who writes it. */
export const oddValues: fc.Arbitrary<unknown> = fc.oneof(
	{
		weight: 6,
		arbitrary: fc.constantFrom<unknown>(undefined, null, true, false, 0, -1, 1e308, 1.5, '', ' ', 'banana'),
	},
	{
		weight: 3,
		arbitrary: fc.constantFrom<unknown>([], {}, [[]], { toString: 1, valueOf: 1 }, ['a'], { length: 3 }),
	},
	{
		weight: 2,
		arbitrary: fc.constantFrom<unknown>(
			JSON.parse('{"then":1}'),
			{ toJSON: 'x' },
			'é\ud800',
			'\0',
			'\r\nx: y',
			'__proto__',
		),
	},
	{ weight: 2, arbitrary: fc.string() },
	{ weight: 1, arbitrary: fc.double() },
	{ weight: 1, arbitrary: fc.integer() },
	{ weight: 1, arbitrary: fc.integer({ min: 1, max: 20_000 }).map((length) => 'x'.repeat(length)) },
	{ weight: 1, arbitrary: fc.jsonValue({ maxDepth: 3 }) },
)

/** JSON of many levels, to the tens of thousands: it can be read, and a recursion over it can't end. */
export interface Deep {
	readonly levels: number
	readonly list: boolean
}
export const deep: fc.Arbitrary<Deep> = fc.record({
	levels: fc.constantFrom(10, 31, 33, 500, 999, 1001, 5000, 10_000, 30_000),
	list: fc.boolean(),
})
export const deepJson = ({ levels, list }: Deep): string =>
	list ? '['.repeat(levels) + ']'.repeat(levels) : `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`

/** What tempts a parser of addresses: separators, dots, their encodings, what browsers skip, other origins. */
const temptingPieces = fc.oneof(
	fc.constantFrom(
		'/',
		'//',
		'\\',
		'.',
		'..',
		'/./',
		'/../',
		'%2e',
		'%2E%2e',
		'%2F',
		'%2f',
		'%5C',
		'%00',
		'%',
		'%0d%0a',
	),
	fc.constantFrom(
		'\t',
		'\n',
		'\r',
		'\0',
		' ',
		'\u00a0',
		'\u2028',
		'\ufeff',
		'／',
		'．',
		'。',
		'\ud800',
		'\u00ad',
	),
	fc.constantFrom('@', ':', ':80', ':443', '?', '#', '&', '=', ';', '[', ']', '"', '<', '>', "'", '`', '|'),
	fc.constantFrom(
		'evil.example',
		'http:',
		'https://evil.example',
		'javascript:alert(1)',
		'data:',
		'user:pw',
		'[::1]',
	),
	fc.string({ maxLength: 5 }),
	fc.string({ unit: 'grapheme', maxLength: 5 }),
)
export const temptingText = fc.array(temptingPieces, { maxLength: 12 }).map((pieces) => pieces.join(''))

/** A change to a text, somewhere in it: an index is taken modulo its length. */
export type Change =
	| { readonly kind: 'flip'; readonly at: number; readonly by: number }
	| { readonly kind: 'cut'; readonly at: number }
	| { readonly kind: 'insert'; readonly at: number; readonly text: string }
	| { readonly kind: 'swap'; readonly at: number; readonly other: number }
	| { readonly kind: 'double' }
	| { readonly kind: 'reverse' }
	| { readonly kind: 'empty' }

export const changes: fc.Arbitrary<Change> = fc.oneof(
	{
		weight: 4,
		arbitrary: fc.record({
			kind: fc.constant('flip' as const),
			at: fc.nat(100_000),
			by: fc.integer({ min: 1, max: 255 }),
		}),
	},
	{ weight: 2, arbitrary: fc.record({ kind: fc.constant('cut' as const), at: fc.nat(100_000) }) },
	{
		weight: 2,
		arbitrary: fc.record({
			kind: fc.constant('insert' as const),
			at: fc.nat(100_000),
			text: fc.string({ minLength: 1, maxLength: 9 }),
		}),
	},
	{
		weight: 1,
		arbitrary: fc.record({ kind: fc.constant('swap' as const), at: fc.nat(100_000), other: fc.nat(100_000) }),
	},
	{
		weight: 1,
		arbitrary: fc.constantFrom<Change>({ kind: 'double' }, { kind: 'reverse' }, { kind: 'empty' }),
	},
)

/** The text with a change. It may be the same again: who needs another has to look. */
export function applyChange(text: string, change: Change): string {
	const { length } = text
	if (change.kind === 'empty' || length === 0) return ''
	if (change.kind === 'double') return text + text
	// By bytes: by characters, this alone would keep the event loop for as long as an input may.
	if (change.kind === 'reverse') return Buffer.from(text, 'utf16le').reverse().swap16().toString('utf16le')
	const at = change.at % length
	if (change.kind === 'cut') return text.slice(0, at)
	if (change.kind === 'insert') return text.slice(0, at) + change.text + text.slice(at)
	const withAt = (index: number, character: string) =>
		text.slice(0, index) + character + text.slice(index + 1)
	if (change.kind === 'flip') return withAt(at, String.fromCharCode(text.charCodeAt(at) ^ change.by))
	const other = change.other % length
	const first = text[at] ?? ''
	const swapped = withAt(at, text[other] ?? '')
	return swapped.slice(0, other) + first + swapped.slice(other + 1)
}
