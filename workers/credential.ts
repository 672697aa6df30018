import type { WireCredential } from '../src/wire.js'
import { createAssertionSigner } from './client-assertion.js'
import { settings } from './context.js'

type Signer = ReturnType<typeof createAssertionSigner>

let current: {
	readonly version: number
	readonly credential: WireCredential
	readonly sign: Signer | undefined
} = adopt(settings.credentialVersion, settings.credential)

function adopt(version: number, credential: WireCredential) {
	const sign =
		credential.kind === 'certificate' ? createAssertionSigner(credential, settings.clientId) : undefined
	return { version, credential, sign }
}

/** Makes sure that the credential is this one or a later one. @returns false when it is needed and was not sent */
export function useCredential(version: number, credential: WireCredential | undefined): boolean {
	if (version <= current.version) return true
	if (!credential) return false
	current = adopt(version, credential)
	return true
}

/** The credential that this worker shows to the provider. */
export function credentialInUse(): WireCredential {
	return current.credential
}

/** Signs client assertions, for a certificate; one for ten minutes. */
export function assertionSigner(): Signer | undefined {
	return current.sign
}
