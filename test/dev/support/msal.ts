import {
	ConfidentialClientApplication,
	type Configuration,
	CryptoProvider,
	type INetworkModule,
	type NetworkRequestOptions,
	type NetworkResponse,
	ResponseMode,
} from '@azure/msal-node'
import { Agent, fetch } from 'undici'
import { type Browser, createBrowser, type Form, type Page } from '../../../dev/cookie-jar-browser.js'
import { clientIds, clientSecrets } from '../../../dev/directory.js'
import type { EntraStandIn } from '../../../dev/entra-stand-in.js'

export const REDIRECT_URI = 'http://localhost:3000/auth/redirect'

/** MSAL's network with a certificate authority, an option that MSAL itself does not have. */
export function createNetworkClient(ca: string): INetworkModule {
	const dispatcher = new Agent({ connect: { ca } })
	async function send<T>(
		method: string,
		url: string,
		options?: NetworkRequestOptions,
	): Promise<NetworkResponse<T>> {
		const response = await fetch(url, {
			method,
			dispatcher,
			headers: options?.headers ?? {},
			...(method === 'POST' && { body: options?.body ?? '' }),
		})
		return {
			headers: Object.fromEntries(response.headers),
			body: (await response.json()) as T,
			status: response.status,
		}
	}
	return {
		sendGetRequestAsync: (url, options) => send('GET', url, options),
		sendPostRequestAsync: (url, options) => send('POST', url, options),
	}
}

/** A confidential client of the stand-in, by default the web application with its secret. */
export function createClient(
	standIn: EntraStandIn,
	auth: Partial<Configuration['auth']> = {},
): ConfidentialClientApplication {
	const proof = auth.clientCertificate || auth.clientAssertion ? {} : { clientSecret: clientSecrets.web }
	return new ConfidentialClientApplication({
		auth: {
			clientId: clientIds.web,
			authority: standIn.authority,
			knownAuthorities: [standIn.host],
			...proof,
			...auth,
		},
		system: { networkClient: createNetworkClient(standIn.ca) },
	})
}

/** A browser that stops in front of the application, so that its form_post can be looked at. */
export function createStandInBrowser(standIn: EntraStandIn): Browser {
	return createBrowser({ ca: standIn.ca, origins: [standIn.origin, standIn.pagesOrigin] })
}

/** What a sign-in may vary. */
export interface SignInOptions {
	readonly browser?: Browser
	readonly loginHint?: string
	readonly prompt?: string
	readonly scopes?: string[]
	readonly claims?: string
}

type Redemption = Parameters<ConfidentialClientApplication['acquireTokenByCode']>[0]

/** Goes through the browser to the form_post, and offers to redeem its code. */
export async function signIn(
	app: ConfidentialClientApplication,
	standIn: EntraStandIn,
	options: SignInOptions = {},
) {
	const crypto = new CryptoProvider()
	const { verifier, challenge } = await crypto.generatePkceCodes()
	const state = crypto.createNewGuid()
	const nonce = crypto.createNewGuid()
	const request = { scopes: options.scopes ?? ['User.Read'], redirectUri: REDIRECT_URI }
	const url = await app.getAuthCodeUrl({
		...request,
		responseMode: ResponseMode.FORM_POST,
		codeChallenge: challenge,
		codeChallengeMethod: 'S256',
		state,
		nonce,
		loginHint: options.loginHint ?? 'ada@contoso.example',
		...(options.prompt && { prompt: options.prompt }),
		...(options.claims && { claims: options.claims }),
	})
	const browser = options.browser ?? createStandInBrowser(standIn)
	const page = await browser.follow(url)
	return {
		url: new URL(url),
		browser,
		page,
		form: page.form,
		redeem(over: Partial<Redemption> = {}) {
			const { code, state: returned } = codeOf(page)
			return app.acquireTokenByCode(
				{ ...request, code, codeVerifier: verifier, nonce, state, ...over },
				{ code, state: returned },
			)
		},
	}
}

/** The code that a page is about to post to the application. */
export function codeOf(page: Page): { code: string; state: string } {
	const form: Form | undefined = page.form
	const code = form?.fields.code
	if (!form || !code)
		throw new Error(`No code: ${page.status} ${JSON.stringify(form?.fields)} ${page.html.slice(0, 800)}`)
	return { code, state: form.fields.state ?? '' }
}

/** The newest refresh token in a client's cache. */
export function refreshTokenOf(app: ConfidentialClientApplication): string {
	const cache = JSON.parse(app.getTokenCache().serialize()) as {
		RefreshToken: Record<string, { secret: string }>
	}
	const newest = Object.values(cache.RefreshToken).at(-1)
	if (!newest) throw new Error('No refresh token in the cache')
	return newest.secret
}
