/**
 * Hosts that are one and the same cloud: MSAL writes any of them as a token's `environment`.
 * https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud, and MSAL's own instance metadata
 */
export const clouds: readonly (readonly string[])[] = [
	['login.microsoftonline.com', 'login.windows.net', 'login.microsoft.com', 'sts.windows.net'],
	['login.partner.microsoftonline.cn', 'login.chinacloudapi.cn'],
	['login.microsoftonline.us', 'login.usgovcloudapi.net'],
]

/** https://learn.microsoft.com/graph/deployments */
const graphs = [
	'graph.microsoft.com',
	'graph.microsoft.us',
	'dod-graph.microsoft.us',
	'microsoftgraph.chinacloudapi.cn',
]

/** Whether MSAL knows the host, and which other names it goes by, without being told. */
export function isMicrosoftCloud(host: string): boolean {
	return clouds.some((hosts) => hosts.includes(host))
}

/** Whether Microsoft Graph is there, of whichever cloud. */
export function isMicrosoftGraph(host: string): boolean {
	return graphs.includes(host)
}

/**
 * Whether an authority is that of many tenants, as what stands below it is too (`/common/v2.0`).
 * https://learn.microsoft.com/entra/identity-platform/msal-client-application-configuration#authority
 */
export function isOfManyTenants(authority: string): boolean {
	return /\/(?:common|organizations)(?:\/|$)/i.test(authority)
}
