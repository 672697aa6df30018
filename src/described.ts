import { KeyObject } from 'node:crypto'

/** Longer texts than this are certificates and the like: how long they are says enough. */
const longest = 200

/** A user name and password in a URL, wherever that stands: up to the last `@` before its path. */
const credentialsInUrl = /([a-z][\w+.-]*:\/\/)[^/?#\s\\]*@/gi

/** How a secret is shown: that it is there, and whether it is as long as was meant. No part of it, and no hash. */
export function masked(secret: string | KeyObject): string {
	if (typeof secret === 'string') return `(set, ${secret.length} characters)`
	if (secret.type === 'secret') return `(set, ${secret.symmetricKeySize} bytes)`
	const bits = secret.asymmetricKeyDetails?.modulusLength
	return `(set, ${secret.asymmetricKeyType} key${bits === undefined ? '' : ` of ${bits} bits`})`
}

/** A value of a setting, safe to print: secrets are masked, functions and other objects named. */
export function described(value: unknown): unknown {
	if (value instanceof KeyObject) return masked(value)
	if (typeof value === 'function') return value.name === '' ? '(function)' : `(function ${value.name})`
	if (value instanceof URL) return described(value.href)
	if (typeof value === 'string')
		return value.length > longest
			? `(text, ${value.length} characters)`
			: value.replace(credentialsInUrl, '$1(set)@')
	if (value instanceof Uint8Array) return `(${value.byteLength} bytes)`
	if (Array.isArray(value)) return value.map(described)
	if (typeof value !== 'object' || value === null) return value
	if (Object.getPrototypeOf(value) !== Object.prototype) return `(${value.constructor?.name ?? 'object'})`
	return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, described(inner)]))
}
