import type { AcquiredToken, GraphUser, Outcome } from '../../../src/index.js'
import { type Action, actions, type Call } from '../acquisitions.js'
import type { Lookup } from '../graph.js'
import { type Html, html } from '../html.js'
import type { Page, Place } from '../layout.js'

/** What the page of somebody who is signed in shows. */
export interface Home {
	readonly place: Place
	readonly token: Omit<AcquiredToken, 'accessToken'>
	/** The acquisition that this page made. */
	readonly own: Call
	/** Those made with the buttons, the newest first. */
	readonly calls: readonly Call[]
	readonly person: Lookup
	readonly manager: Lookup | { readonly none: 'not asked' }
	/** Tasks that the worker threads have been given since the start. */
	readonly tasks: number
}

/** What somebody sees who is signed in. */
export function homePage(home: Home): Page {
	const { account } = home.token
	const name = account.name ?? account.username
	return {
		place: home.place,
		title: name,
		corner: html`<nav><a class="button plain" href="/user/logout">Sign out</a></nav>`,
		main: html`<div class="columns">
${personCard(home, name)}
${tokenCard(home)}
</div>`,
	}
}

function personCard({ token, person, manager }: Home, name: string): Html {
	const { username, objectId, tenantId } = token.account
	const profile = 'profile' in person ? person.profile : undefined
	return html`<section class="card person" aria-labelledby="name">
<span class="photo" aria-hidden="true">${initialsOf(name)}</span>
<h1 id="name">${name}</h1>
<p class="job">${profile?.jobTitle ?? (profile ? 'No job title' : 'Microsoft Graph did not answer')}</p>
<dl>
<dt>Manager</dt><dd>${managerOf(manager)}</dd>
<dt>Mail</dt><dd>${profile?.mail ?? 'None'}</dd>
<dt>Signed in as</dt><dd>${username}</dd>
</dl>
<details><summary>Identity</summary>
<p class="quiet">Names and addresses change hands; this pair does not.</p>
<dl><dt>Object</dt><dd><code>${objectId}</code></dd><dt>Tenant</dt><dd><code>${tenantId}</code></dd></dl>
</details>
</section>`
}

function managerOf(manager: Home['manager']): Html {
	if ('profile' in manager) return describe(manager.profile)
	switch (manager.none) {
		case 'not asked':
			return html`<a href="/manager">Allow reading it</a> <small>asks you for <code>User.Read.All</code></small>`
		case 'nobody':
			return html`Nobody, says the directory`
		case 'not permitted':
			return html`Not permitted to this application`
		case 'no answer':
			return html`Microsoft Graph did not answer`
	}
}

function describe({ displayName, jobTitle }: GraphUser): Html {
	return html`${displayName ?? 'Somebody without a name'}${jobTitle ? html` <small>${jobTitle}</small>` : ''}`
}

function tokenCard({ place, token, own, calls, tasks }: Home): Html {
	const call = calls[0] ?? own
	return html`<section class="card token" id="token" aria-labelledby="token-title">
<h2 id="token-title">Your access token</h2>
<p class="reading"><span class="took">${writeTime(call.took)}</span> <span class="badge ${call.outcome}">${call.outcome}</span>
<span class="quiet">${call.what} · ${clock(call.at)}</span></p>
<p>${explain(call)}</p>
${pathOf(call.outcome, place)}
<div class="actions">
${actions.map(button)}
</div>
<dl>
<dt>Time left</dt><dd data-until="${token.expiresOn.getTime()}">${timeUntil(token.expiresOn)}</dd>
<dt>Next refresh in</dt><dd data-until="${token.refreshOn.getTime()}">${timeUntil(token.refreshOn)}</dd>
<dt>Granted</dt><dd class="scopes">${token.scopes.map((scope) => html`<code>${scope}</code> `)}</dd>
</dl>
${calls.length > 0 && callTable(calls)}
<p class="quiet">${calls.length > 0 && `To show this page a token was needed as well: ${own.outcome}, ${writeTime(own.took)}. `}The
worker threads have had ${tasks} ${tasks === 1 ? 'task' : 'tasks'} since the start, and a hit adds none. The token itself stays on the server.</p>
</section>`
}

function button({ name, path }: Action, position: number): Html {
	return html`<form method="post" action="${path}"><button${position > 0 && html` class="plain"`}>${name}</button></form>\n`
}

function callTable(calls: readonly Call[]): Html {
	return html`<table>
<caption>Your latest calls</caption>
<thead><tr><th scope="col">When</th><th scope="col">What</th><th scope="col">Outcome</th><th scope="col">Took</th></tr></thead>
<tbody>
${calls.map(
	({ at, what, outcome, took }) =>
		html`<tr><td>${clock(at)}</td><td>${what}</td><td><span class="badge ${outcome}">${outcome}</span></td><td>${writeTime(took)}</td></tr>\n`,
)}</tbody>
</table>`
}

/** The stations of an acquisition, in order, and what happened there. */
function pathOf(outcome: Outcome, { redis }: Place): Html {
	const stations = ['Memory', 'Worker', redis ? 'Redis' : 'Token store', 'Provider']
	const events: Readonly<Record<Outcome, readonly (string | undefined)[]>> = {
		hit: ['had it', undefined, undefined, undefined],
		stale: ['had it', 'refreshes behind', 'is updated', 'gives a new one'],
		inflight: ['joined a call', undefined, undefined, undefined],
		cached: ['had none', 'opened the cache', 'had it', undefined],
		refreshed: [undefined, 'did the work', 'was updated', 'gave a new one'],
	}
	return html`<ol class="path" aria-label="The way of this call">
${stations.map((station, i) => {
	const event = events[outcome][i]
	return html`<li${event && html` class="reached"`}><strong>${station}</strong><span>${event ?? 'not asked'}</span></li>\n`
})}</ol>`
}

function explain({ outcome, joined = 0 }: Call): Html {
	switch (outcome) {
		case 'hit':
			return html`The broker held it: one look-up in memory, on the main thread. No thread hop, no worker, no provider.`
		case 'stale':
			return html`The broker held it and gave it out at once, and because a refresh is due one now runs behind it. Nobody waits for that.`
		case 'inflight':
			return html`Somebody else had just asked for the same. This call joined theirs and cost nothing of its own.`
		case 'cached':
			return html`It was not in memory. One worker task read the sealed cache from the store and opened it there; the
provider was not asked.`
		case 'refreshed':
			return html`One worker task opened the sealed cache, asked the provider for a new token, sealed and stored the
result.${joined > 0 && html` <strong>The other ${joined} joined it</strong>: the provider was asked once.`} The event loop was free meanwhile.`
	}
}

/** Milliseconds, in the unit that suits. */
function writeTime(milliseconds: number): string {
	if (milliseconds < 1) return `${Math.max(1, Math.round(milliseconds * 1000))} µs`
	if (milliseconds < 1000)
		return `${milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds)} ms`
	return `${(milliseconds / 1000).toFixed(1)} s`
}

function timeUntil(date: Date): string {
	const seconds = Math.max(0, Math.round((date.getTime() - Date.now()) / 1000))
	return `${Math.floor(seconds / 60)} min ${String(seconds % 60).padStart(2, '0')} s`
}

function clock(at: number): string {
	return new Date(at).toLocaleTimeString('en-GB')
}

function initialsOf(name: string): string {
	const words = name
		.replace(/\(.*?\)/g, '')
		.split(/[\s.@_-]+/)
		.filter(Boolean)
	return [words[0], words.length > 1 ? words.at(-1) : undefined]
		.map((word) => word?.charAt(0).toUpperCase() ?? '')
		.join('')
}
