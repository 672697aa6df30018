/** What may be called from the other thread. */
export const verbs = ['acquireSilent', 'signOut'] as const

/** Characters of a message's id; comlink's own have at most 59. */
const maxId = 128

/** Rebuilds a message from the fields that it should have; `undefined` refuses it. */
export type MessageCheck = (data: unknown) => object | undefined

/**
 * What the owner of the broker lets in: a call of one verb with plain arguments, and the release of the proxy.
 *
 * comlink itself would walk any path, set, construct, hand out further ports, and revive arguments to proxies:
 * https://github.com/GoogleChromeLabs/comlink/blob/v4.4.2/src/comlink.ts
 */
export const checkCall: MessageCheck = (data) => {
	if (!isRecord(data) || !isId(data.id)) return undefined
	const { id, type, path, argumentList } = data
	if (type === 'RELEASE') return { id, type }
	if (type !== 'APPLY' || !Array.isArray(path) || path.length !== 1) return undefined
	const verb = verbs.find((name) => name === path[0])
	if (!verb || !Array.isArray(argumentList) || argumentList.length > 2) return undefined
	const checked = Array.from(argumentList, checkValue)
	return checked.includes(undefined) ? undefined : { id, type, path: [verb], argumentList: checked }
}

/** What the caller lets in: answers that are plain values, in the form that the owner gives them. */
export const checkAnswer: MessageCheck = (data) => {
	if (!isRecord(data) || !isId(data.id)) return undefined
	const answer = checkValue(data)
	if (!answer || !isRecord(answer.value)) return undefined
	const { ok, value, error } = answer.value
	const whole = ok === true ? isRecord(value) : ok === false && isRecord(error)
	return whole ? { id: data.id, ...answer } : undefined
}

/** A value as it was cloned. comlink's other kind, `HANDLER`, revives proxies and thrown errors. */
function checkValue(wired: unknown): { readonly type: 'RAW'; readonly value: unknown } | undefined {
	return isRecord(wired) && wired.type === 'RAW' ? { type: 'RAW', value: wired.value } : undefined
}

function isId(value: unknown): boolean {
	return typeof value === 'string' && value.length > 0 && value.length <= maxId
}

export function isRecord(value: unknown): value is Record<string, unknown> {
	return typeof value === 'object' && value !== null
}
