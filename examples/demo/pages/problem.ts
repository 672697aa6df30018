import type { BrokerError, BrokerErrorCode } from '../../../src/index.js'
import { html } from '../html.js'
import type { Page, Place } from '../layout.js'

/** What went wrong. */
export interface Problem {
	readonly status: number
	readonly error?: BrokerError
}

interface Advice {
	readonly title: string
	readonly text: string
	readonly link: { readonly href: string; readonly text: string }
}

const home = { href: '/', text: 'Go to the start page' }
const tryAgain = { href: '/', text: 'Try again' }
const signIn = { href: '/user/login', text: 'Sign in' }

/** What people can do about the errors that they can meet. Switch on the code: messages may change. */
const adviceByCode: Partial<Record<BrokerErrorCode, Advice>> = {
	ERR_SIGNED_OUT: {
		title: 'You are not signed in any more',
		text: 'Your session ended, perhaps in another tab or because the server was started anew.',
		link: signIn,
	},
	ERR_INTERACTION_REQUIRED: {
		title: 'Please sign in again',
		text: 'The provider wants to see you before it gives out another token.',
		// A guarded page: it takes along what the provider asked for.
		link: { href: '/again', text: 'Continue' },
	},
	ERR_IDP_UNAVAILABLE: {
		title: 'The provider does not answer',
		text: 'You are still signed in. Tokens that are held go on working.',
		link: tryAgain,
	},
	ERR_STORE_UNAVAILABLE: {
		title: 'The token store does not answer',
		text: 'Nothing is lost. It is tried again with the next request.',
		link: tryAgain,
	},
	ERR_OVERLOADED: {
		title: 'Too much is going on',
		text: 'Others are being served. Give it a moment.',
		link: tryAgain,
	},
}

const adviceByStatus: Readonly<Record<number, Advice>> = {
	403: {
		title: 'This request was refused',
		text: 'It came from another site. Use the buttons on the start page.',
		link: home,
	},
	404: {
		title: 'There is nothing here',
		text: 'The address may be mistyped, or the page was never there.',
		link: home,
	},
}

const otherwise: Advice = {
	title: 'This did not work',
	text: 'Something went wrong on our side. The server’s console has the details.',
	link: home,
}

function seconds(count: number): string {
	return count > 1 ? `${Math.ceil(count)} seconds` : 'a second'
}

/** Says what went wrong in words, and what to do. */
export function problemPage(place: Place, { status, error }: Problem): Page {
	const advice = (error && adviceByCode[error.code]) ?? adviceByStatus[status] ?? otherwise
	const wait = error?.retryAfter
	return {
		place,
		title: advice.title,
		main: html`
<section class="hero">
<p class="status">${status}</p>
<h1>${advice.title}</h1>
<p class="lead">${advice.text}${wait !== undefined && html` Trying again makes sense in ${seconds(wait)}.`}</p>
<p><a class="button" href="${advice.link.href}">${advice.link.text}</a></p>
${error && html`<p class="quiet"><code>${error.code}</code></p>`}
</section>`,
	}
}
