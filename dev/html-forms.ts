/** A form on a page, ready to be submitted. */
export interface Form {
	/** Absolute. */
	readonly action: string
	readonly method: 'GET' | 'POST'
	/** The inputs' names and values; buttons are in `buttons`, because only the pressed one is sent. */
	readonly fields: Readonly<Record<string, string>>
	readonly buttons: readonly Button[]
	/** Whether the page submits it by itself, as `form_post` answers do. */
	readonly selfSubmitting: boolean
}

/** A submit button. */
export interface Button {
	readonly text: string
	readonly name: string | undefined
	readonly value: string
}

/** The forms of a page whose address is `base`, in order. */
export function parseForms(html: string, base: string): Form[] {
	const submitsItself = /<script[^>]*>[^<]*forms\[0\]\.submit\(\)/.test(html)
	return [...html.matchAll(/<form\b([^>]*)>([\s\S]*?)<\/form>/gi)].map(([, tag = '', body = ''], index) => ({
		action: new URL(attribute(tag, 'action') || base, base).href,
		method: attribute(tag, 'method')?.toLowerCase() === 'post' ? 'POST' : 'GET',
		fields: parseFields(body),
		buttons: parseButtons(body),
		selfSubmitting: submitsItself && index === 0,
	}))
}

/** The addresses of a page's frames. */
export function parseFrames(html: string, base: string): string[] {
	return [...html.matchAll(/<iframe\b([^>]*)>/gi)]
		.map(([, tag = '']) => attribute(tag, 'src'))
		.filter((src) => src !== undefined)
		.map((src) => new URL(src, base).href)
}

/** Text with character references resolved; enough for pages that escape what they must. */
export function unescapeHtml(text: string): string {
	const named: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }
	return text.replace(/&(?:#x([0-9a-f]+)|#(\d+)|(amp|lt|gt|quot|apos));/gi, (_all, hex, decimal, name) =>
		name
			? (named[name.toLowerCase()] ?? '')
			: String.fromCodePoint(hex ? Number.parseInt(hex, 16) : Number(decimal)),
	)
}

function parseFields(body: string): Record<string, string> {
	const fields: Record<string, string> = {}
	for (const [, tag = ''] of body.matchAll(/<input\b([^>]*)>/gi)) {
		const name = attribute(tag, 'name')
		if (name && attribute(tag, 'type') !== 'submit') fields[name] = attribute(tag, 'value') ?? ''
	}
	return fields
}

function parseButtons(body: string): Button[] {
	return [...body.matchAll(/<button\b([^>]*)>([\s\S]*?)<\/button>/gi)].map(([, tag = '', content = '']) => ({
		text: unescapeHtml(content.replace(/<[^>]*>/g, ''))
			.replace(/\s+/g, ' ')
			.trim(),
		name: attribute(tag, 'name'),
		value: attribute(tag, 'value') ?? '',
	}))
}

function attribute(tag: string, name: string): string | undefined {
	const match = new RegExp(`\\b${name}\\s*=\\s*(?:"([^"]*)"|'([^']*)'|([^\\s>]+))`, 'i').exec(tag)
	return match ? unescapeHtml(match[1] ?? match[2] ?? match[3] ?? '') : undefined
}
