/** Microsoft Graph in front of a scope: its address in each cloud, or its application id; and then one permission. */
const ofGraph =
	/^(?:https:\/\/(?:graph\.microsoft\.(?:com|us)|dod-graph\.microsoft\.us|microsoftgraph\.chinacloudapi\.cn)|00000003-0000-0000-c000-000000000000)\/(?=[^/]+$)/

/**
 * A scope in the form in which it is compared: in lower case, and Microsoft Graph's own in short. To the provider
 * `Mail.Read` and `https://graph.microsoft.com/Mail.Read` are one, and so is the token for either.
 * https://learn.microsoft.com/entra/identity-platform/scopes-oidc
 */
export function canonicalScope(scope: string): string {
	return scope.toLowerCase().replace(ofGraph, '')
}
