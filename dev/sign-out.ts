import type { KoaContextWithOIDC } from 'oidc-provider'
import { renderSigningOutPage, renderSignOutPage } from './pages/sign-out.js'
import type { Tenant } from './tenant.js'

/**
 * The page between an application's sign-out link and the end of the session. The provider has back-channel logout
 * only; Entra has front-channel only: every application the person is signed in to is loaded in a hidden frame.
 *
 * Like Entra it asks first, unless the application says who signs out (`id_token_hint`, `logout_hint`).
 * @param headless goes on without asking
 */
export function createLogoutPage(tenant: Tenant, headless: boolean) {
	return (ctx: KoaContextWithOIDC, form: string): void => {
		const params = (ctx.oidc.params ?? {}) as Record<string, string | undefined>
		if (headless || params.id_token_hint || params.logout_hint) {
			renderSigningOutPage(ctx, { frames: frontChannelUrls(ctx, tenant), form })
			return
		}
		const person = tenant.person(ctx.oidc.session?.accountId)
		const repeat = Object.entries({ ...params, logout_hint: person?.upn ?? 'confirmed' })
		renderSignOutPage(ctx, {
			name: person?.name ?? 'Somebody',
			fields: Object.fromEntries(repeat.filter(([, value]) => value !== undefined)) as Record<string, string>,
		})
	}
}

function frontChannelUrls(ctx: KoaContextWithOIDC, tenant: Tenant): string[] {
	const signedInto = Object.entries(ctx.oidc.session?.authorizations ?? {})
	return signedInto.flatMap(([clientId, { sid }]) => {
		const uri = tenant.client(clientId)?.frontchannelLogoutUri
		if (!uri) return []
		const url = new URL(uri)
		url.searchParams.set('iss', tenant.issuer)
		if (sid) url.searchParams.set('sid', sid)
		return [url.href]
	})
}
