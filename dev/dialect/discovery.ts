import type { Tenant } from '../tenant.js'

/** Entra's members of the discovery document, and the pages' own origin for what a browser opens. */
export function translateDiscovery(
	document: Readonly<Record<string, unknown>>,
	tenant: Tenant,
	viaAlias: boolean,
): Record<string, unknown> {
	return {
		...document,
		// The multi-tenant document cannot know the tenant; MSAL fills the template.
		issuer: viaAlias ? `${tenant.origin}/{tenantid}/v2.0` : tenant.issuer,
		authorization_endpoint: onPages(document.authorization_endpoint, tenant),
		end_session_endpoint: onPages(document.end_session_endpoint, tenant),
		device_authorization_endpoint: `${tenant.authority}/oauth2/v2.0/devicecode`,
		http_logout_supported: true,
		frontchannel_logout_supported: true,
		tenant_region_scope: null,
		cloud_instance_name: 'stand-in.invalid',
		cloud_graph_host_name: 'graph.stand-in.invalid',
		msgraph_host: 'graph.stand-in.invalid',
		rbac_url: 'https://pas.stand-in.invalid',
	}
}

/** The answer of `/common/discovery/instance`, by which MSAL learns which hosts are one cloud. */
export function instanceDiscovery(tenant: Tenant): Record<string, unknown> {
	const { host } = new URL(tenant.origin)
	return {
		tenant_discovery_endpoint: `${tenant.issuer}/.well-known/openid-configuration`,
		'api-version': '1.1',
		metadata: [{ preferred_network: host, preferred_cache: host, aliases: [host] }],
	}
}

function onPages(endpoint: unknown, tenant: Tenant): string {
	return `${tenant.pagesOrigin}${new URL(String(endpoint)).pathname}`
}
