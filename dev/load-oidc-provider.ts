type OidcProvider = typeof import('oidc-provider')

let loading: Promise<OidcProvider> | undefined

/**
 * oidc-provider warns on import about Node 20 and on construction about every default it finds, which is right for
 * a real provider and noise for this one. It is therefore imported here, once, and built inside `quietly`.
 */
export function loadOidcProvider(): Promise<OidcProvider> {
	loading ??= quietlyImport()
	return loading
}

/** Runs `build` while oidc-provider's own notices are dropped; everybody else's lines pass. */
export function quietly<T>(build: () => T): T {
	const restore = muteNotices()
	try {
		return build()
	} finally {
		restore()
	}
}

async function quietlyImport(): Promise<OidcProvider> {
	const restore = muteNotices()
	try {
		return await import('oidc-provider')
	} finally {
		restore()
	}
}

function muteNotices(): () => void {
	const { info, warn } = console
	const unlessNotice =
		(write: typeof console.info): typeof console.info =>
		(...args) => {
			if (!/oidc-provider (NOTICE|WARNING):/.test(String(args[0]))) write.apply(console, args)
		}
	console.info = unlessNotice(info)
	console.warn = unlessNotice(warn)
	return () => Object.assign(console, { info, warn })
}
