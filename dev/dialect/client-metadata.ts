import type * as Oidc from 'oidc-provider'
import type { DevClient } from '../directory.js'
import { ON_BEHALF_OF } from './on-behalf-of.js'

/** A registration as the provider takes it. */
export function clientMetadata(client: DevClient): Oidc.ClientMetadata {
	return {
		client_id: client.clientId,
		client_name: client.name,
		client_secret: client.clientSecret,
		jwks: client.jwks as Oidc.JWKS | undefined,
		redirect_uris: client.redirectUris,
		post_logout_redirect_uris: client.postLogoutRedirectUris ?? [],
		backchannel_logout_uri: client.backchannelLogoutUri,
		backchannel_logout_session_required: client.backchannelLogoutUri ? true : undefined,
		token_endpoint_auth_method: client.jwks ? 'private_key_jwt' : 'client_secret_post',
		subject_type: 'pairwise',
		grant_types: ['authorization_code', 'refresh_token', 'client_credentials', ON_BEHALF_OF],
		response_types: ['code'],
	}
}
