/**
 * Characters that a line of text has no use for, and that deceive whoever reads it: controls (C0 and C1, so also the
 * escapes of a terminal), line and paragraph separators, and what turns the direction of a text around.
 * https://www.unicode.org/reports/tr9/#Directional_Formatting_Characters
 */
const deceptive = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}\p{Surrogate}]/gu

/** Whether a text is one line, and reads as it is. */
export function isPlainText(text: string): boolean {
	return text.search(deceptive) < 0
}

/** A text for people, without what would deceive them; empty when there is none. @param longest in code points */
export function toPlainText(value: unknown, longest: number): string {
	if (typeof value !== 'string') return ''
	// No more than could be of use: an answer may be as long as its transport lets it.
	const plain = value.slice(0, 16 * longest).replace(deceptive, '')
	return [...plain].slice(0, longest).join('').trim()
}

/** Whether it is an id of a person, a tenant or a request: OpenID Connect Core 2 has at most 255 ASCII characters for a `sub`. */
export function isId(value: unknown): value is string {
	return typeof value === 'string' && /^[\x20-\x7e]{1,256}$/.test(value)
}

/** An error code of a provider (RFC 6749, 5.2), to be shown and logged: one word, or none. */
export function toWord(value: unknown): string | undefined {
	const text = typeof value === 'number' ? String(value) : value
	return typeof text === 'string' && /^[\w.-]{1,64}$/.test(text) ? text : undefined
}
