export type { AcquiredToken, Outcome } from './acquired-token.js'
export type { AuthorizationRequest } from './authorization-request.js'
export { createTokenBroker, type SignIn, type TokenBroker } from './broker.js'
export type { SettingsDescription } from './describe-settings.js'
export type { Acquisition, OutOfBandUse, ProfileFailure } from './diagnostics.js'
export type { DownstreamRequest } from './downstream.js'
export { BrokerError, type BrokerErrorCode } from './errors.js'
export type { Graph, GraphRequest, GraphUser, Photo } from './graph.js'
export { hardenServer, type ServerLimits } from './harden-server.js'
export type { Health, PartHealth } from './health.js'
export { allOf } from './koa/all-of.js'
export { anyOf } from './koa/any-of.js'
export type { Guard, Predicate } from './koa/guard.js'
export { hasRole } from './koa/has-role.js'
export { hasScope } from './koa/has-scope.js'
export { createHealthRoutes, type HealthRoutes } from './koa/health.js'
export { inGroup } from './koa/in-group.js'
export { requireSignedIn } from './koa/require-signed-in.js'
export { createMsalRoutes, type RouteOptions } from './koa/routes.js'
export {
	type SealedSessionStore,
	type SessionStore,
	type SessionStoreOptions,
	sealedSessionStore,
} from './koa/sealed-session-store.js'
export { createMsalSession, type MsalSession } from './koa/session.js'
export type { ApplicationSession, SelectSession } from './koa/session-access.js'
export type { SessionData } from './koa/session-data.js'
export type { SignedIn, SignedInHook } from './koa/signed-in.js'
export { startSignIn } from './koa/start-sign-in.js'
export { describeSettings, type KoaMsal, type KoaMsalEnvironmentOptions, koaMsal } from './koa-msal.js'
export { type MemoryTokenStore, memoryTokenStore } from './memory-token-store.js'
export type { OutOfBandRequest } from './out-of-band.js'
export { type RedisSource, type RedisTokenStore, redisTokenStore } from './redis-token-store.js'
export type { SessionClaims, SessionLike, SessionTicket } from './session.js'
export type { SessionCredential, TokenOptions } from './session-credential.js'
export type { SessionHandle } from './session-handle.js'
export type { CleanOptions, FoundSession, ListedSession, SessionFilter, Sessions } from './sessions.js'
export type {
	AuthOptions,
	ClientAssertionFunction,
	InfoFields,
	KoaMsalOptions,
	OnError,
	RoutePaths,
	RouteSettings,
	Serialiser,
	TokenStore,
} from './settings.js'
export type { AuthorizationAnswer, LoginTransaction, SignInRequest } from './sign-in.js'
export type { SilentRequest } from './silent-request.js'
export type {
	CleanCounts,
	ConnectivityCheck,
	MembershipClaims,
	SignedInAccount,
	UserReference,
} from './wire.js'
