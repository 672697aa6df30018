/**
 * `@peculiar/x509` brings tsyringe, which refuses to load without the `Reflect.getMetadata` proposal. It never
 * reads anything back for classes without constructor parameters, and x509 has no others, so answering
 * "nothing known" is enough. Import this before `@peculiar/x509`; a real polyfill, when loaded, wins.
 */
interface MetadataReflection {
	getMetadata?: (key: unknown, target: object) => unknown
	getOwnMetadata?: (key: unknown, target: object) => unknown
	defineMetadata?: (key: unknown, value: unknown, target: object) => void
}

const reflection = Reflect as MetadataReflection
reflection.getMetadata ??= () => undefined
reflection.getOwnMetadata ??= () => undefined
reflection.defineMetadata ??= () => {}

export {}
