/** HTML, as opposed to text that still has to be escaped. */
export interface Html {
	readonly html: string
}

type Value = string | number | Html | readonly Html[] | undefined | false

/** A template whose values are escaped, unless they are HTML themselves or a list of it. */
export function html(parts: TemplateStringsArray, ...values: readonly Value[]): Html {
	return { html: parts.map((part, i) => part + write(values[i])).join('') }
}

/** HTML that was written by us: a style, a script. */
export function trusted(text: string): Html {
	return { html: text }
}

function write(value: Value): string {
	if (value === undefined || value === false) return ''
	if (typeof value !== 'object') return escapeHtml(String(value))
	return 'html' in value ? value.html : value.map((one) => one.html).join('')
}

function escapeHtml(text: string): string {
	return text.replace(/[&<>"'`]/g, (character) => `&#${character.charCodeAt(0)};`)
}
