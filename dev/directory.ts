import type { JWK } from 'jose'

/** The resource whose permissions are written without a prefix (`User.Read`). */
export const GRAPH = 'https://graph.microsoft.com'
/** The audience of Graph's access tokens. */
export const GRAPH_AUDIENCE = '00000003-0000-0000-c000-000000000000'

/** The default tenant. */
export const TENANT_ID = '11111111-2222-4333-8444-555555555555'
/** The default registrations: a web app with a secret, one with a certificate, and an API behind them. */
export const clientIds = {
	web: 'aaaaaaaa-0000-4000-8000-0000000000f1',
	certificate: 'aaaaaaaa-0000-4000-8000-0000000000f2',
	api: 'aaaaaaaa-0000-4000-8000-000000000001',
} as const
/** The secrets of the default registrations; worth nothing outside a stand-in. */
export const clientSecrets = { web: 'stand-in~web~secret', api: 'stand-in~api~secret' } as const
/** The default API's resource name. */
export const API = `api://${clientIds.api}`

/** An application's registration. */
export interface DevClient {
	readonly clientId: string
	/** Shown on the consent page. Default: the client id. */
	readonly name?: string
	/** Either a secret… */
	readonly clientSecret?: string
	/** …or the public keys of its certificates. */
	readonly jwks?: { readonly keys: readonly JWK[] }
	/** Exact, except that the port of a loopback address is not compared, as Entra does. */
	readonly redirectUris: readonly string[]
	readonly postLogoutRedirectUris?: readonly string[]
	/** Loaded in a hidden frame when the person signs out anywhere. */
	readonly frontchannelLogoutUri?: string
	/** Entra has no back-channel logout; the provider underneath has. */
	readonly backchannelLogoutUri?: string
	/** Permissions granted beforehand, by resource. Grows when a person consents. */
	readonly consented: Readonly<Record<string, readonly string[]>>
	/** The resource this client is: tokens for it are accepted as on-behalf-of assertions. */
	readonly apiResource?: string
	/** Application permissions (`roles` of a client-credentials token), by resource. */
	readonly appRoles?: Readonly<Record<string, readonly string[]>>
}

/** An API that tokens can be asked for. */
export interface ApiResource {
	/** The `aud` of its access tokens. */
	readonly audience: string
	/** Its delegated permissions. */
	readonly scopes: readonly string[]
}

/** What `createDirectory` is told about the application under development. */
export interface DirectoryOptions {
	/** Default `http://localhost:3000/auth/redirect`. */
	readonly redirectUris?: readonly string[]
	/** Default `http://localhost:3000/`. */
	readonly postLogoutRedirectUris?: readonly string[]
	readonly frontchannelLogoutUri?: string
	readonly clientId?: string
	readonly clientSecret?: string
	/** Adds the registration `clientIds.certificate` with this key. */
	readonly certificateJwk?: JWK
}

/** Registrations for a web app (and, given a key, its certificate twin) and an API. */
export function createDirectory(options: DirectoryOptions = {}): {
	tenantId: string
	clients: DevClient[]
	resources: Record<string, ApiResource>
} {
	const web = {
		redirectUris: options.redirectUris ?? ['http://localhost:3000/auth/redirect'],
		postLogoutRedirectUris: options.postLogoutRedirectUris ?? ['http://localhost:3000/'],
		...(options.frontchannelLogoutUri && { frontchannelLogoutUri: options.frontchannelLogoutUri }),
		consented: { [GRAPH]: ['User.Read', 'Mail.Read'], [API]: ['access_as_user'] },
		appRoles: { [GRAPH]: ['User.Read.All'] },
	}
	const clients: DevClient[] = [
		{
			...web,
			clientId: options.clientId ?? clientIds.web,
			name: 'Web application',
			clientSecret: options.clientSecret ?? clientSecrets.web,
		},
		{
			clientId: clientIds.api,
			name: 'API',
			clientSecret: clientSecrets.api,
			redirectUris: ['http://localhost:3001/unused'],
			apiResource: API,
			consented: { [GRAPH]: ['User.Read'] },
		},
	]
	if (options.certificateJwk) {
		clients.push({
			...web,
			clientId: clientIds.certificate,
			name: 'Web application with a certificate',
			jwks: { keys: [options.certificateJwk] },
		})
	}
	return {
		tenantId: TENANT_ID,
		clients,
		resources: { [API]: { audience: clientIds.api, scopes: ['access_as_user', 'reports.read'] } },
	}
}
