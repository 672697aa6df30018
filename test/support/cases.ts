/** A case that a suite must show. */
export interface Case {
	readonly title: string
	/** Why no test is due yet. */
	readonly waits?: string
}

/** By the id that stands in the titles of their tests. */
const CASES: Readonly<Record<string, Case>> = {
	A1: { title: 'an answer without its transaction cookie' },
	A2: { title: 'a state that is wrong, empty, absent, repeated or endless' },
	A3: { title: 'the same answer twice' },
	A4: { title: 'the code of another sign-in' },
	A5: { title: 'a sign-in that another site began' },
	A6: { title: 'a nonce that is missing, another, or of an earlier sign-in' },
	A7: { title: 'a challenge of its own for each sign-in, its verifier never shown' },
	A8: { title: 'an answer of another issuer (RFC 9207)' },
	A10: { title: 'an id_token that names another access token' },
	A11: { title: 'an error of the provider' },
	A13: { title: 'two tabs' },
	A15: { title: 'a sign-in that took too long' },
	A16: { title: 'an OpenID configuration that cannot be believed' },
	A17: { title: 'an answer of one broker brought to another' },
	A18: { title: 'another user over the session of the first' },
	A19: { title: 'a redirect after a form post' },
	B1: { title: 'a session cookie that was planted' },
	B2: { title: 'a session id that is unknown, unsigned or odd' },
	B3: { title: 'what cookies are allowed to do' },
	B4: { title: 'how many cookies, and how large' },
	B5: { title: 'a signing key that is rolled' },
	B6: { title: 'a cookie after its sign-out' },
	B9: { title: 'a sign-out that another site asks for' },
	B10: { title: 'a session that is kept alive for ever' },
	B11: { title: 'front-channel logout', waits: 'its route is not built' },
	B12: { title: 'back-channel logout', waits: 'its route is not built' },
	B13: { title: 'a flood of sign-ins that nobody ends' },
	B14: { title: 'a shared cache in front' },
	B15: { title: 'a stored session of hostile shape' },
	B16: { title: 'the sessions of exactly one user' },
	C2: { title: 'a Referer that would decide' },
	C3: { title: 'where a sign-out leads' },
	C4: { title: 'a Host that is not ours' },
	C5: { title: 'headers of a proxy that is none' },
	C6: { title: 'line breaks and escapes in what reaches a header or a log' },
	C7: { title: 'markup in what reaches a page' },
	C8: { title: 'what is for developers only' },
	C10: { title: 'framing, sniffing and referrers' },
	D1: { title: 'a stolen dump of Redis' },
	D2: { title: 'a blob that was changed' },
	D5: { title: 'sealing keys that are rolled' },
	D6: { title: 'nonces that never repeat' },
	D8: { title: 'errors that cross threads' },
	D9: { title: 'secrets in the worker interface' },
	D12: { title: 'headers that a caller must not set' },
	D13: { title: 'many people in one worker' },
	D16: { title: 'a cache of hostile shape, sealed well' },
	D17: { title: 'an earlier blob that is put back' },
	E1: { title: 'Redis that is down, at the start or later' },
	E3: { title: 'Redis far away, on a bad line' },
	E4: { title: 'Redis that has forgotten everything' },
	E6: { title: 'Redis that has forgotten half a session' },
	E8: { title: 'Redis that refuses, in each of its words' },
	E9: { title: 'an answer of Redis that is cut off' },
	E10: { title: 'a sign-out while Redis is down' },
	F1: { title: 'a provider that answers with errors' },
	F3: { title: 'a provider that hangs' },
	F4: { title: 'a provider that is not there, or not itself' },
	F5: { title: 'a provider that is out for long' },
	F6: { title: 'keys of the provider that change' },
	F7: { title: 'a grant that is revoked, or wants the person back' },
	F9: { title: 'a clock that is wrong' },
	G1: { title: 'a hundred callers of one expired session' },
	G5: { title: 'an end of the process in the middle of refreshes' },
	G6: { title: 'thousands of sessions that expire together' },
	G9: { title: 'many resources at once for one session' },
	G10: { title: 'a refresh that another process was faster with' },
	H1: { title: 'a worker thread that dies' },
	H2: { title: 'a worker thread that throws while it is idle' },
	H4: { title: 'a worker thread without memory, and what would take it' },
	H5: { title: 'a worker thread that loops' },
	H6: { title: 'ten times the load that can be done' },
	H7: { title: 'clients that hang up' },
	H8: { title: 'connections and timers between tasks' },
	H9: { title: 'a port between threads that dies' },
	I1: { title: 'a body without end' },
	I2: { title: 'thousands of slow connections' },
	I3: { title: 'fields and brackets without number' },
	I4: { title: 'headers and cookies without number' },
	I5: { title: 'a token cache that grows' },
	I6: { title: 'hours of load', waits: 'it is a soak, of minutes at least' },
	I7: { title: 'input that makes a parser slow' },
	J2: { title: 'settings that are wrong' },
	J3: { title: 'probes during the faults' },
	J4: { title: 'an import and an end that leave nothing' },
}

/** What of them each suite ends with a table of. */
const sections: Readonly<Record<string, string>> = { security: 'ABCDI', faults: 'EFGHJ' }

export function casesOf(suite: string): Readonly<Record<string, Case>> {
	const own = sections[suite] ?? ''
	return Object.fromEntries(Object.entries(CASES).filter(([id]) => own.includes(id.charAt(0))))
}

/** The ids of these cases that a title names: `D2: …`, `… (B5, D5)`. */
export function idsIn(title: string, cases: Readonly<Record<string, Case>>): string[] {
	return (title.match(/\b[A-J][1-9][0-9]?\b/g) ?? []).filter((id) => id in cases)
}
