import { html } from '../html.js'
import type { Page, Place } from '../layout.js'

/** What somebody sees who is not signed in. */
export function welcomePage(place: Place): Page {
	return {
		place,
		title: 'Welcome',
		main: html`
<section class="hero">
<h1>Sign in, and watch your token stay out of the way.</h1>
<p class="lead">koa-msal signs people in with Microsoft Entra ID on Koa and brokers their tokens off the event loop:
what is held is answered from memory, in microseconds, and all that takes work is done in worker threads.</p>
<p><a class="button" href="/user/login">Sign in</a></p>
<p class="quiet">${place.standIn ? 'You choose who you are on the next page. There are no passwords.' : 'With your work or school account.'}</p>
</section>
<ol class="steps">
<li><h2>Sign in</h2><p>${place.standIn ? 'The stand-in asks who you are, as Entra ID would. Ada has a photo and a manager, Emmy is a guest, Alan has next to nothing.' : 'Entra ID sends you back with a code, which a worker thread redeems.'}</p></li>
<li><h2>Ask for a token</h2><p>See where it came from, memory or a worker or the provider, and how long that took.</p></li>
<li><h2>Sign out</h2><p>Your tokens are deleted, the session ends here and at the provider.</p></li>
</ol>
<p class="quiet note">Works in Chrome, Edge and Firefox. Safari refuses <code>Secure</code> cookies on
<code>http://localhost</code>, which the way back from the provider needs.</p>`,
	}
}
