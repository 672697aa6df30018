import type { Context } from 'koa'
import { type Person, userNameOf } from '../people.js'
import { type Html, html, sendPage } from './layout.js'

/** What the sign-in page shows. */
export interface SignInPage {
	readonly people: readonly Person[]
	/** Name of the application that asks. */
	readonly application: string
	/** What stands in the text field. */
	readonly typed: string
	/** Whether nobody has that name. */
	readonly unknown: boolean
}

/** The page on which a person says who they are. There are no passwords. */
export function renderSignInPage(ctx: Context, { people, application, typed, unknown }: SignInPage): void {
	sendPage(ctx, {
		title: 'Sign in',
		main: html`
<h1>Who are you today?</h1>
<p class="quiet">${application} asks you to sign in. Pick anybody; there are no passwords here.</p>
<form method="post">
<ul>
${people.map(personButton)}
</ul>
</form>
<hr>
<form method="post">
<label for="username">Or type a user name</label>
${unknown && unknownAlert(typed)}
<input id="username" name="username" value="${typed}" autocomplete="username" autocapitalize="none" spellcheck="false"
	${unknown ? html`aria-invalid="true" aria-describedby="unknown" autofocus` : ''}>
<div class="row">
<button class="primary">Sign in</button>
<button class="secondary" name="cancel" value="1">Cancel</button>
</div>
</form>`,
	})
}

function personButton(person: Person): Html {
	return html`<li><button class="person" name="oid" value="${person.oid}">
<span class="initials" aria-hidden="true" style="background: hsl(${hueOf(person.oid)} 50% 30%)">${initialsOf(person.name)}</span>
<span>${person.name}
<small>${userNameOf(person)}${person.jobTitle ? ` · ${person.jobTitle}` : ''}</small></span>
</button></li>
`
}

function unknownAlert(typed: string): Html {
	const what = typed ? `There is nobody called “${typed}” here.` : 'Type a user name, or pick somebody above.'
	return html`<p class="alert" id="unknown" role="alert">${what}</p>`
}

function initialsOf(name: string): string {
	return name
		.split(' ')
		.slice(0, 2)
		.map((word) => word.charAt(0))
		.join('')
}

/** Golden-angle steps, so that neighbours in the list differ. */
function hueOf(oid: string): number {
	return (Number.parseInt(oid.slice(-4), 16) * 137) % 360
}
