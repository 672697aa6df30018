import { decodeJwt } from 'jose'

/** What a sign-in of MSAL-Python has come to: tokens that the stand-in has issued. */
export interface PythonTokens {
	readonly clientId: string
	/** The authority's host, without a port: MSAL-Python's `environment`. */
	readonly environment: string
	readonly homeAccountId: string
	readonly idToken: string
	readonly refreshToken: string
	/** The authority's tenant, as it was named. Default: the id_token's. */
	readonly realm?: string
}

type Cache = Record<string, Record<string, Record<string, unknown>>>

/**
 * A token cache as MSAL-Python 1.31 writes it after an authorization code: `TokenCache.__add`, with the keys that its
 * `key_makers` make.
 */
export function pythonCache(tokens: PythonTokens): Cache {
	const { clientId, environment, homeAccountId, idToken, refreshToken } = tokens
	const claims = decodeJwt(idToken)
	const realm = tokens.realm ?? String(claims.tid)
	const target = 'User.Read User.Read.All email openid profile'
	const now = String(Math.floor(Date.now() / 1000))
	const key = (...parts: readonly string[]) => parts.join('-').toLowerCase()
	return {
		AccessToken: {
			[key(homeAccountId, environment, 'AccessToken', clientId, realm, target)]: {
				credential_type: 'AccessToken',
				secret: 'an-access-token-of-the-original',
				home_account_id: homeAccountId,
				environment,
				client_id: clientId,
				target,
				realm,
				token_type: 'Bearer',
				cached_at: now,
				expires_on: String(Number(now) + 4000),
				extended_expires_on: String(Number(now) + 4000),
			},
		},
		Account: {
			[key(homeAccountId, environment, realm)]: {
				home_account_id: homeAccountId,
				environment,
				realm,
				local_account_id: claims.oid,
				username: claims.preferred_username,
				authority_type: 'MSSTS',
				account_source: 'authorization_code',
			},
		},
		IdToken: {
			[key(homeAccountId, environment, 'IdToken', clientId, realm, '')]: {
				credential_type: 'IdToken',
				secret: idToken,
				home_account_id: homeAccountId,
				environment,
				realm,
				client_id: clientId,
			},
		},
		RefreshToken: {
			[key(homeAccountId, environment, 'RefreshToken', clientId, '', target)]: {
				credential_type: 'RefreshToken',
				secret: refreshToken,
				home_account_id: homeAccountId,
				environment,
				client_id: clientId,
				target,
				last_modification_time: now,
			},
		},
		AppMetadata: {
			[`appmetadata-${environment}-${clientId}`]: { client_id: clientId, environment },
		},
	}
}

/** A record as aiohttp_session's `RedisStorage` writes it for aiohttp_msal: `json.dumps` of a session with a cache. */
export function pythonRecord(cache: Cache | string, created = Math.floor(Date.now() / 1000)): string {
	return JSON.stringify({
		created,
		session: {
			redirect: '',
			// `SerializableTokenCache.serialize()`: a text in the text.
			token_cache: typeof cache === 'string' ? cache : JSON.stringify(cache, null, 4),
			mail: 'somebody@contoso.example',
			name: 'Somebody',
			m_mail: 'manager@contoso.example',
			m_name: 'The Manager',
		},
	})
}
