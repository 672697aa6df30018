import type { Arm, Params, World } from '../scenario.js'
import { createSessionMaker, type SeededSession } from '../sessions.js'

/** A `Map` look-up behind an async function: the least that a hit can cost. */
export async function createArm(params: Params, world: World): Promise<Arm<{ accessToken: string }>> {
	const maker = createSessionMaker(params, world)
	const sessions: SeededSession[] = []
	const expected: string[] = []
	const held = new Map<string, { accessToken: string }>()
	for (let index = 0; index < params.sessions; index++) {
		const session = maker.session(index)
		const accessToken = maker.tokens(index).seeded
		sessions.push(session)
		expected.push(accessToken)
		held.set(session.msal.partition, { accessToken })
	}
	const lookUp = async ({ msal }: SeededSession) => {
		const token = held.get(msal.partition)
		if (!token) throw new Error('nobody is signed in')
		return token
	}
	return {
		prepare: async () => {},
		start: (index) => lookUp(sessions[index] as SeededSession),
		check(index, { accessToken }) {
			if (accessToken !== expected[index]) throw new Error('map: another session’s token')
		},
	}
}
