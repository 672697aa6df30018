import type { KeyObject } from 'node:crypto'
import type { WireError } from './errors.js'
import type { NetworkSettings } from './network.js'
import type { RedisConnection } from './redis-client.js'

/** What both threads agree on: types only. Every value here survives a structured clone. */

/** The client credential, once per worker, secrets as `KeyObject`s. */
export type WireCredential =
	| { readonly kind: 'secret'; readonly secret: KeyObject }
	| {
			readonly kind: 'certificate'
			readonly privateKey: KeyObject
			readonly thumbprintSha256: string
			readonly x5c?: string
	  }
	/** The application's own function makes assertions on the main thread; they come with the task. */
	| { readonly kind: 'assertion' }

/** `workerData`: what a worker learns once, when it starts. */
export interface WorkerSettings {
	readonly clientId: string
	readonly authority: string
	readonly knownAuthorities: readonly string[]
	readonly authorityMetadata?: string
	readonly allowedTenants: readonly string[] | 'any'
	readonly clientCapabilities: readonly string[]
	readonly credential: WireCredential
	/** Counts the credentials: a task says which one it counts on. */
	readonly credentialVersion: number
	readonly secrets: readonly KeyObject[]
	/** `undefined`: the store is in memory on the main thread and blobs travel in the tasks. */
	readonly redis?: RedisConnection
	readonly namespace: string
	readonly network: NetworkSettings
	/** Milliseconds a token must still live to be handed out. */
	readonly expiryMargin: number
	/** Bytes of a sealed blob, beyond which the oldest access tokens are left out. */
	readonly maxBlobBytes: number
	readonly refresh: {
		/** Milliseconds a lease lasts unless it is renewed. */
		readonly lease: number
	}
}

/** The endpoints of the authority in use, from its OpenID configuration, checked by a worker. */
export interface ProviderMetadata {
	readonly issuer: string
	readonly authorizationEndpoint: string
	readonly tokenEndpoint: string
	readonly jwksUri: string
	readonly endSessionEndpoint?: string
	/** RFC 9207: whether the answer to an authorization request always carries `iss`. */
	readonly issParameterSupported: boolean
}

/** Who signed in. Identity is `tenantId` + `objectId`; `username`, `upn`, `mail` and `name` change hands. */
export interface SignedInAccount {
	/** MSAL's key for the account: `<home object id>.<home tenant id>`. A guest's differs from oid and tid. */
	readonly homeAccountId: string
	/** The `tid` claim: the tenant that issued the tokens. */
	readonly tenantId: string
	/** The `oid` claim: the user's immutable id in that tenant. */
	readonly objectId: string
	/** The `preferred_username` claim. Mutable: never a key, never an authorization decision. */
	readonly username: string
	/** The `upn` claim, where the application has asked for it and it is another: a guest's in this tenant. */
	readonly upn?: string
	readonly name?: string
	/** What Microsoft Graph said at sign-in, where the setting `profile` has it asked. Mutable, as `username` is. */
	readonly mail?: string
	/** The `login_hint` claim: opaque, lets the provider's sign-out skip its account picker. */
	readonly loginHint?: string
}

/**
 * What the id_token of a sign-in says of roles and groups: bounded, for a token may say more than a session should
 * hold. A field is absent where it says nothing.
 */
export interface MembershipClaims {
	/** The `roles` claim: application roles, by value. At most 100. */
	readonly roles?: readonly string[]
	/** The `wids` claim: directory roles, by template id, in lower case. At most 100. */
	readonly wids?: readonly string[]
	/** The `groups` claim: object ids, in lower case. At most 200; names, which change hands, are left out. */
	readonly groups?: readonly string[]
	/** There are more groups than the token says: Microsoft Graph knows them. */
	readonly groupsOverage?: true
}

/**
 * A user, exactly: by the immutable ids, or by a name or address inside one tenant, in any case. It says nothing
 * outside its tenant: anybody's tenant can give anybody's name.
 *
 * `username` and `mail` are one kind of alias, looked up in what the tenant's directory itself vouches for: the
 * claims `preferred_username` and `upn`, and the mail address that Microsoft Graph says at sign-in, where the setting
 * `profile` has it asked; without it, a `mail` that is no user name leads nowhere. The `email` claim is never believed:
 * whoever runs a tenant can write any address into it.
 * https://learn.microsoft.com/entra/identity-platform/migrate-off-email-claim-authorization
 */
export type UserReference =
	| { readonly tenantId: string; readonly objectId: string }
	| { readonly tenantId: string; readonly username: string }
	| { readonly tenantId: string; readonly mail: string }

/** A partition of a user, for the main thread alone. */
export interface FoundPartition {
	readonly partition: string
	readonly account: SignedInAccount
	/** When it ends, in milliseconds since the epoch. */
	readonly expiresOn: number
}

/** A partition as it is listed: by its id, which may be shown. */
export interface ListedPartition {
	readonly id: string
	/** Absent when another process has the key of its blob. */
	readonly account?: SignedInAccount
	readonly expiresOn: number
}

/** Where a walk through all keys of Redis stands. */
export interface ScanPosition {
	/** Nodes that are still to be walked, the first of them from `cursor` on. */
	readonly nodes: readonly string[]
	readonly cursor: string
}

export interface CleanParams {
	readonly from?: ScanPosition
	/** Sessions that end before this, in milliseconds since the epoch, have lived long enough. */
	readonly endsBefore?: number
	/** Index entries that end after this may be of a sign-in that is under way. */
	readonly settledBefore: number
	/** Whether what is sealed under a secret that this process has not is removed as well. */
	readonly unknownSecrets: boolean
}

/** What a clean-up removed. Tokens, web sessions and index entries count one each. */
export interface CleanCounts {
	/** Damaged, or ended by half: nobody can use it. */
	readonly damaged: number
	/** Entries of the user index that lead nowhere. */
	readonly orphaned: number
	/** Older than was asked for. */
	readonly older: number
	/** Sealed under a secret that this process has not, where these were to be removed. */
	readonly unreadable: number
	/** What cannot be opened here and was left: of another secret, or a newer version's. */
	readonly left: number
}

/** Whether one thing that a broker needs can be reached. */
export interface ConnectivityCheck {
	/**
	 * The authority's configuration, its keys, the token store, and, with Redis, whether the sign-outs of other
	 * processes are heard.
	 */
	readonly name: 'authority' | 'keys' | 'store' | 'notices'
	readonly ok: boolean
	/** Milliseconds. */
	readonly duration: number
	/** One word for what went wrong: the system's (`ENOTFOUND`), Redis's (`NOPERM`), `PROXY_407`, or an error code. */
	readonly code?: string
	/** A sentence on what went wrong, without secrets. */
	readonly message?: string
	/** What to do about it. */
	readonly remedy?: string
}

/** A blob as the store holds it. */
export interface StoredBlob {
	readonly version: number
	readonly sealed: string
}

/** A token on its way to the main thread. Times are milliseconds since the epoch. */
export interface WireToken {
	readonly accessToken: string
	readonly expiresOn: number
	/** When the provider suggests a refresh; `undefined` when it said nothing. */
	readonly refreshOn?: number
	readonly scopes: readonly string[]
	readonly tokenType: string
}

/** Fields of a task that touches the provider. */
interface ProviderCall {
	readonly correlationId: string
	/** Made by the application's `clientAssertion` function, where there is one. */
	readonly clientAssertion?: string
}

export interface RedeemParams extends ProviderCall {
	readonly code: string
	readonly codeVerifier: string
	readonly nonce: string
	readonly redirectUri: string
	readonly scopes: readonly string[]
	readonly claims?: string
	/** Seconds since 1970: the person has to have proved who they are since then. */
	readonly authenticatedSince?: number
	/** The new session's partition; never used before. */
	readonly partition: string
	/** The partition of the session that the sign-in started from: extended for the same user, else ended. */
	readonly previous?: { readonly partition: string; readonly stored?: StoredBlob }
	/** Milliseconds the partition lives. */
	readonly lifetime: number
	/** The one-time mark of the transaction; absent with the memory store, whose owner has claimed it already. */
	readonly claim?: ClaimParams
}

export interface ClaimParams {
	readonly transaction: string
	/** Where a second post of the same form is sent. */
	readonly returnTo: string
	/** When the sign-in is done at the latest, in milliseconds since 1970: for other processes. */
	readonly until: number
	/** The same by {@link monotonic}: a clock that is set meanwhile refuses nobody. */
	readonly deadline: number
	readonly lifetime: number
}

/** What the mark of a used transaction says, sealed. */
export interface UsedTransaction {
	readonly returnTo: string
	/** What the sign-in has begun, or begins. */
	readonly partition: string
	/** Only while it is under way: when it is done at the latest. */
	readonly until?: number
}

export type RedeemResult =
	| {
			readonly claimed: true
			readonly account: SignedInAccount
			readonly claims: MembershipClaims
			readonly token: WireToken
			/** The partition that this one replaces could not be deleted yet. */
			readonly leavesPrevious?: true
			/** For the memory store, whose owner writes it. */
			readonly sealed?: string
	  }
	| { readonly claimed: false; readonly value: string }

export interface AcquireParams extends ProviderCall {
	readonly partition: string
	readonly homeAccountId: string
	readonly scopes: readonly string[]
	readonly claims?: string
	readonly forceRefresh: boolean
	/** When the held token expires that is to be replaced: only one that lives longer will do. */
	readonly replaces?: number
	/** When the task was handed over, by {@link monotonic}. */
	readonly sentAt: number
	/**
	 * Whether the task may refresh: `never` only reads; `if-expired` when no valid token in the blob answers the
	 * request; `always` whatever there is.
	 */
	readonly lease: 'never' | 'if-expired' | 'always'
	/**
	 * Fingerprint of the token that the blob held when we began to wait, empty when there was none: another one comes of
	 * a refresh that ended meanwhile, and answers a forced request too.
	 */
	readonly otherThan?: string
	/** The blob, from the memory store. */
	readonly stored?: StoredBlob
	/** From the memory store: why nobody is to call the provider for this session yet. */
	readonly heldOff?: WireError
	/** With Redis, a newer blob that could not be written yet. */
	readonly unsaved?: UnsavedBlob
}

/** A refreshed blob that the store could not take. */
export interface UnsavedBlob extends StoredBlob {
	/** When its longest-lived token expires. */
	readonly expiresOn: number
	/** Fingerprints of the refresh tokens that it descends from; the store has one of them unless somebody was faster. */
	readonly refreshedFrom: readonly string[]
	/** Whose lease it was refreshed under: it may be there still. */
	readonly holder: string
}

/** How a step of answering a miss ended; all but `done` are tried again. */
export type AcquireAnswer =
	| AcquireResult
	/** Somebody else is refreshing the partition. `held`: see `otherThan`, where the step was to find that out. */
	| { readonly state: 'busy'; readonly held?: string }
	/** There is no valid token, and the task was not to refresh. */
	| { readonly state: 'needs-refresh' }
	/** The provider refused a refresh token that somebody has replaced since, or is replacing. */
	| { readonly state: 'outrun'; readonly held: string }
	| AcquireFailure

/** A step that failed, and what the owner of the memory store has to know of it. */
export interface AcquireFailure {
	readonly state: 'failed'
	readonly error: WireError
	/** The blob, without what turned out to be dead. */
	readonly sealed?: string
	/** Who is to leave the provider alone, and for how many milliseconds. */
	readonly holdOff?: { readonly whose: 'session' | 'tenant'; readonly milliseconds: number }
}

export interface AcquireResult {
	readonly state: 'done'
	readonly outcome: 'cached' | 'refreshed'
	readonly token: WireToken
	/** Whose it is, as the stored id_token says: a session's own word is not enough. */
	readonly account: SignedInAccount
	/** For the memory store, whose owner writes it. */
	readonly sealed?: string
	/** Milliseconds for which the task waited for a worker. */
	readonly queued: number
	/** To be kept and written when the store is back. */
	readonly unsaved?: UnsavedBlob
}

/** A record of the original's. */
export interface ImportRecordParams {
	/** The session id that its cookie has. */
	readonly id: string
	/** As Redis has it. */
	readonly record: string
	/** Milliseconds that Redis would keep it; `undefined`: for ever, which a fault of the original leads to. */
	readonly timeToLive?: number
	/** Milliseconds after its last change for which the original takes it. */
	readonly maxAge: number
	/** Milliseconds that a session lives at most. */
	readonly absoluteTimeout: number
	readonly dryRun: boolean
}

/** What became of it. */
export type ImportRecordResult =
	| { readonly state: 'imported' }
	/** By an earlier run; whether its cookie has come since or not. */
	| { readonly state: 'known' }
	| {
			readonly state: 'skipped'
			readonly reason:
				| 'nobody is signed in'
				| 'too old'
				| 'several people'
				| 'no refresh token'
				| 'another client'
				| 'another authority'
				/** An earlier run had other secrets; `sessions.clean({ unknownSecrets: true })` takes back what it did. */
				| 'another secret'
	  }
	| { readonly state: 'damaged' }

/** A session that was imported. */
export type FoundImport =
	/** There is none, and there was none. */
	| { readonly state: 'unknown' }
	/** Its cookie has come before. */
	| { readonly state: 'used' }
	/** `account` is what the original's record said. */
	| { readonly state: 'waiting'; readonly partition: string; readonly account: SignedInAccount }

/** Every task a worker does: its parameters and its result. */
export interface WireTasks {
	/** Proves that a worker loads and, with Redis, that this takes writes. */
	ping: { params: Record<string, never>; result: { readonly store: boolean } }
	metadata: { params: Record<string, never>; result: ProviderMetadata }
	redeem: { params: RedeemParams; result: RedeemResult }
	acquire: { params: AcquireParams; result: AcquireAnswer }
	/** Ends a partition and its web session, and tells the other processes. */
	signOut: {
		params: { readonly partition: string; readonly account?: SignedInAccount }
		result: Record<string, never>
	}
	/** The sessions of one user. */
	findSessions: {
		params: { readonly user: UserReference }
		result: { readonly sessions: readonly FoundPartition[] }
	}
	/** Whether a partition is there, and whose it is as far as this process can open it. */
	whose: {
		params: { readonly partition: string }
		result: { readonly exists: boolean; readonly account?: SignedInAccount }
	}
	/** One step through all sessions. */
	listSessions: {
		params: { readonly from?: ScanPosition }
		result: { readonly sessions: readonly ListedPartition[]; readonly next?: ScanPosition }
	}
	/** One step through all that is stored, with what no longer serves anybody removed. */
	cleanSessions: {
		params: CleanParams
		result: { readonly counts: CleanCounts; readonly next?: ScanPosition }
	}
	/** What of the outside world a worker reaches, on connections of its own. */
	checkConnectivity: {
		params: Record<string, never>
		result: { readonly checks: readonly ConnectivityCheck[] }
	}
	/** Adds to a session what Microsoft Graph says is its user's mail address. */
	recordMail: {
		params: {
			readonly partition: string
			readonly homeAccountId: string
			readonly mail: string
			/** The blob, from the memory store. */
			readonly stored?: StoredBlob
		}
		/** `sealed`: for the memory store, whose owner writes it. */
		result: { readonly account: SignedInAccount; readonly sealed?: string }
	}
	/** Writes what the store could not take before. `later`: somebody is refreshing it now. */
	save: {
		params: { readonly partition: string; readonly blob: UnsavedBlob }
		result: { readonly state: 'saved' | 'gone' | 'later' }
	}
	/** Whether a partition is still there. */
	exists: { params: { readonly partition: string }; result: { readonly exists: boolean } }
	/** Turns a record of the original into a session that waits for its cookie. */
	importRecord: { params: ImportRecordParams; result: ImportRecordResult }
	findImported: { params: { readonly id: string }; result: FoundImport }
	/**
	 * Takes an imported session, so that nobody else can: `used` when somebody has taken it before. The claims are the
	 * provider's, once it has said whose the session is; else there are none.
	 */
	takeImported: {
		params: { readonly id: string; readonly partition: string }
		result: { readonly state: 'taken'; readonly claims: MembershipClaims } | { readonly state: 'used' }
	}
	/** Marks a transaction that nobody has used as one that failed, for so many milliseconds. */
	endSignIn: {
		params: { readonly transaction: string; readonly lifetime: number }
		result: Record<string, never>
	}
	/** Marks a used transaction as failed: a second answer of the provider must not look like a success. */
	failClaim: { params: { readonly transaction: string }; result: Record<string, never> }
	/** Reads the mark of a transaction that was used: absent when it was not, empty when its sign-in failed. */
	findClaim: { params: { readonly transaction: string }; result: { readonly value?: string } }
}

export type TaskName = keyof WireTasks

/** What goes to a worker: a task, and which credential it counts on; the credential itself only when asked for. */
export interface TaskMessage<T extends TaskName> {
	readonly task: T
	readonly params: WireTasks[T]['params']
	readonly credentialVersion: number
	readonly credential?: WireCredential
}

/** An end that crosses a thread or a port: errors lose their class and fields on the way, so they are values. */
export type Answer<T> =
	| { readonly ok: true; readonly value: T }
	| { readonly ok: false; readonly error: WireError }

/** `wants`: the worker has an older credential and asks for the task again with the new one. */
export type TaskAnswer<T> = Answer<T> | { readonly ok: false; readonly wants: 'credential' }
