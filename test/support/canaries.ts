/** Texts that must not be found, by what they are. */
export type Canaries = ReadonlyMap<string, ReadonlySet<string>>

/** Every way in which a text could stand in a value, a key, a line of a log or a page. */
export function spellings(text: string): string[] {
	const bytes = Buffer.from(text)
	const json = JSON.stringify(text).slice(1, -1)
	const forms = [
		text,
		json,
		JSON.stringify(json).slice(1, -1),
		asciiJson(text),
		encodeURIComponent(text),
		encodeURIComponent(text).replaceAll('%20', '+'),
		new URLSearchParams({ '': text }).toString().slice(1),
		bytes.toString('hex'),
		bytes.toString('hex').toUpperCase(),
		// As Node prints bytes.
		bytes.toString('hex').replace(/..(?!$)/g, '$& '),
		// As a whole, and at each of the three places that it can have within a longer one.
		...[0, 1, 2].flatMap((shift) => {
			const shifted = Buffer.concat([Buffer.alloc(shift), bytes])
			const safe = (encoded: string) => encoded.replace(/=+$/, '').slice(shift === 0 ? 0 : shift + 1, -2)
			return [safe(shifted.toString('base64')), safe(shifted.toString('base64url'))]
		}),
	]
	return [...new Set(forms)].filter((form) => form.length >= 6)
}

/** As many characters of a spelling lead to it. */
const prefixLength = 12

/**
 * Which of thousands of texts stand, in any spelling, in a place of millions of characters: read once, whatever their
 * number.
 */
export function findMany(canaries: Canaries, place: string): string[] {
	const byPrefix = new Map<string, { readonly what: string; readonly form: string }[]>()
	const found = new Set<string>()
	for (const [what, texts] of canaries)
		for (const form of new Set([...texts].flatMap(spellings)))
			if (form.length < prefixLength) {
				if (place.includes(form)) found.add(what)
			} else {
				const prefix = form.slice(0, prefixLength)
				byPrefix.set(prefix, [...(byPrefix.get(prefix) ?? []), { what, form }])
			}
	for (let at = 0; at + prefixLength <= place.length; at++)
		for (const { what, form } of byPrefix.get(place.slice(at, at + prefixLength)) ?? [])
			if (place.startsWith(form, at)) found.add(what)
	return [...found]
}

/** Only ASCII, as many serialisers write it. */
function asciiJson(text: string): string {
	return JSON.stringify(text)
		.slice(1, -1)
		.replace(/[^\0-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** Whoever shortens a long text shows its beginning, or its end. */
function partsOf(text: string): string[] {
	return text.length <= 100 ? [text] : [text.slice(0, 100), text.slice(-40)]
}

/** Each JSON within JSON, and each inspection, doubles the backslashes. */
function unescaped(text: string): string {
	return text.replaceAll('\\', '')
}

/** What of the canaries a place holds, however it is written, and escaped however often. */
export function findCanaries(canaries: Canaries, place: string): string[] {
	const bare = unescaped(place)
	return [...canaries]
		.filter(([, texts]) =>
			[...texts].some((text) =>
				partsOf(text).some((part) => spellings(part).some((form) => bare.includes(unescaped(form)))),
			),
		)
		.map(([what]) => what)
}
