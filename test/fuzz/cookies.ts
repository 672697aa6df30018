import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import fc from 'fast-check'
import type { Target } from './fuzz.js'
import { applyChange, type Change, changes } from './odd.js'

/** A piece of a Cookie header. */
type Piece =
	/** `id.signature`: of the session that is stored or of none, signed well or in one of many wrong ways. */
	| { readonly kind: 'pair'; readonly known: boolean; readonly signed: Signed; readonly name: Name }
	| { readonly kind: 'changed'; readonly change: Change; readonly name: Name }
	| { readonly kind: 'text'; readonly text: string; readonly name: Name }
	| { readonly kind: 'junk'; readonly text: string }

type Signed =
	| 'well'
	| 'not at all'
	| 'by another secret'
	| 'for another id'
	| 'spelt otherwise'
	| 'with its letters mixed'
	| 'as text of its id'
	| 'at random'
type Name = 'ours' | 'transaction' | 'in capitals' | 'with a prefix' | 'quoted'

const names = fc.oneof(
	{ weight: 6, arbitrary: fc.constant<Name>('ours') },
	fc.constantFrom<Name>('transaction', 'in capitals', 'with a prefix', 'quoted'),
)
const pieces: fc.Arbitrary<Piece> = fc.oneof(
	{
		weight: 6,
		arbitrary: fc.record({
			kind: fc.constant('pair' as const),
			known: fc.boolean(),
			signed: fc.constantFrom<Signed>(
				'well',
				'not at all',
				'by another secret',
				'for another id',
				'spelt otherwise',
				'with its letters mixed',
				'as text of its id',
				'at random',
			),
			name: names,
		}),
	},
	{
		weight: 3,
		arbitrary: fc.record({ kind: fc.constant('changed' as const), change: changes, name: names }),
	},
	{
		weight: 1,
		arbitrary: fc.record({
			kind: fc.constant('text' as const),
			text: fc.string({ maxLength: 100 }),
			name: names,
		}),
	},
	{
		weight: 1,
		arbitrary: fc.record({ kind: fc.constant('junk' as const), text: fc.string({ maxLength: 60 }) }),
	},
)

/** 43 letters, the same with each run: a seed repeats it. */
const idLike = (name: string) => createHash('sha256').update(name).digest('base64url')

/** Cookies of sessions and sign-ins: only the pair that was signed leads to the session, and nothing makes a fault. */
export const cookies: Target<readonly Piece[]> = async (world) => {
	const app = await world.application()
	const [known, unknown] = [idLike('known'), idLike('unknown')]
	const good = `${known}.${app.signatures.sign(known)}`
	// The last letter of 32 bytes in base64url has two bits to spare: three more spellings of the same bytes.
	const respelt = (signature: string) => {
		const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
		return signature.slice(0, -1) + letters[letters.indexOf(signature.slice(-1)) ^ 1]
	}
	const signatureOf = (id: string, signed: Signed): string => {
		const own = app.signatures.sign(id)
		switch (signed) {
			case 'well':
				return own
			case 'not at all':
				return ''
			case 'by another secret':
				return app.foreignSignatures.sign(id)
			case 'for another id':
				return app.signatures.sign(id === known ? unknown : known)
			case 'spelt otherwise':
				return respelt(own)
			case 'with its letters mixed':
				return own.slice(1) + own.slice(0, 1)
			case 'as text of its id':
				return id
			case 'at random':
				return idLike('random')
		}
	}
	const nameOf = (name: Name): string => {
		const { sessionCookie, transactionCookie } = app
		if (name === 'ours' || name === 'quoted') return sessionCookie
		if (name === 'transaction') return `${transactionCookie}AAAAAAAAAAAAAAAA`
		return name === 'in capitals' ? sessionCookie.toUpperCase() : `__Host-${sessionCookie}`
	}
	const textOf = (piece: Piece): string => {
		if (piece.kind === 'junk') return piece.text
		const id = piece.kind === 'pair' && !piece.known ? unknown : known
		const value =
			piece.kind === 'pair'
				? `${id}.${signatureOf(id, piece.signed)}`
				: piece.kind === 'changed'
					? applyChange(good, piece.change)
					: piece.text
		return `${nameOf(piece.name)}=${piece.name === 'quoted' ? `"${value}"` : value}`
	}
	return {
		inputs: fc.array(pieces, { minLength: 1, maxLength: 6 }),
		reaches: ['the session', 'anonymous', 'no HTTP'],
		async attempt(input) {
			const header = Buffer.from(
				input
					.map(textOf)
					.join('; ')
					.replace(/[\r\n]/g, ''),
			).toString('latin1')
			app.plant(known, JSON.stringify({ deadline: Date.now() + 60_000, data: { canary: 'of the session' } }))
			const answer = await app.get('/session', header)
			if (!answer || answer.status === 400) return 'no HTTP'
			assert.equal(answer.status, 200)
			const held = header.split(';').map((pair) => pair.trim())
			// The one rule: whoever has the pair has the session; nobody else. An unknown id that we have signed comes first.
			const signed = [good, `${unknown}.${app.signatures.sign(unknown)}`].map(
				(pair) => `${app.sessionCookie}=${pair}`,
			)
			const first = held.find((pair) => signed.includes(pair))
			const sees = (JSON.parse(answer.body) as { names: string[] }).names.includes('canary')
			assert.equal(sees, first === signed[0], header)
			// Nobody is given a session by looking: not the id that they brought, and none of their own.
			for (const line of answer.headers.get('set-cookie') ?? [])
				assert.doesNotMatch(line, /canary|[\w-]{43}\.[\w-]{43}/)
			return sees ? 'the session' : 'anonymous'
		},
	}
}
