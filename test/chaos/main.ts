// npm run chaos: draws faults and pairs of faults for CHAOS_SECONDS (default 300) under load, and holds what must hold
// whatever happens. CHAOS_SEED repeats a run's faults.
import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import {
	clockFaults,
	type Fault,
	processFaults,
	providerFaults,
	redisFaults,
	threadFaults,
} from '../faults/faults.js'
import { createRig, type Rig, type SignedIn } from '../faults/rig.js'
import {
	type Account,
	enter,
	findLosses,
	holdTokens,
	isGood,
	isRefused,
	openAccount,
	recoveryTime,
	Traffic,
	tally,
	withoutOver,
} from '../faults/traffic.js'

const seed = Number(process.env.CHAOS_SEED || randomInt(2 ** 31))
const seconds = Number(process.env.CHAOS_SECONDS || 300)
const rate = Number(process.env.CHAOS_RATE || 100)

/** Milliseconds: in which two faults begin, which a fault lasts at most, in which all must be well again. */
const [apart, longest, recovery] = [1000, 4000, 5000]

interface Drawn {
	readonly group: string
	readonly name: string
	readonly fault: Fault
}

const groups: Readonly<Record<string, Readonly<Record<string, Fault>>>> = {
	Redis: redisFaults,
	'the provider': providerFaults,
	'a thread': threadFaults,
	'a process': processFaults,
	'the clock': clockFaults,
}

/** One fault, or two of different parts. */
function draw(random: () => number): Drawn[] {
	const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T
	const names = Object.keys(groups)
	const first = pick(names)
	const chosen = random() < 0.5 ? [first] : [first, pick(names.filter((name) => name !== first))]
	return chosen.map((group) => {
		const [name, fault] = pick(Object.entries(groups[group] ?? {}))
		return { group, name, fault }
	})
}

/** Signs somebody out, by a browser. @returns whether they were told that it is done */
async function signOut({ places }: Rig, { cookie }: SignedIn): Promise<boolean> {
	const { origin } = places.find(({ running }) => running) ?? { origin: '' }
	const response = await fetch(`${origin}/user/logout`, { headers: { cookie }, redirect: 'manual' })
	return response.status === 303
}

/** Who has signed out gets nothing, from no process, by ticket or by cookie. */
async function requireGone(rig: Rig, { session, cookie }: SignedIn): Promise<void> {
	for (const { running, origin } of rig.places) {
		const [reply] = (await running?.acquire([session])) ?? []
		assert.ok(!reply || 'error' in reply, 'a session that was signed out is answered a token')
		const response = await fetch(`${origin}/token`, { headers: { cookie } })
		assert.notEqual(response.status, 200, 'a cookie that was signed out is answered a token')
	}
}

/** Breaks something, mends it, and looks at everything. @returns what came of it, for the log */
async function round(rig: Rig, drawn: readonly Drawn[], account: Account): Promise<string> {
	const { random } = rig
	const traffic = new Traffic(rig, rate)
	const crashed = rig.crashes.length
	traffic.start()
	await sleep(500)
	const leaves = rig.signedIn[Math.floor(random() * rig.signedIn.length)] as SignedIn
	const begun = drawn.map(async ({ fault }, at) => {
		await sleep(at * random() * apart)
		await fault.begin(rig)
	})
	await sleep(random() * longest)
	// Before the processes are replaced, so perhaps of none of those that will be asked.
	const told = await signOut(rig, leaves).catch(() => false)
	await Promise.all(begun)
	for (const { fault } of drawn) await fault.end(rig)
	const back = performance.now()
	await sleep(recovery + 1000)
	await traffic.stop()
	const broken = (part: string) => drawn.some(({ group }) => group === part)
	const ended = broken('a process')
	const losses = await findLosses(rig, traffic, {
		threadsEnd: broken('a thread'),
		storeAway: ended && broken('Redis'),
	})
	const lost = losses.filter(({ who }) => who !== leaves)
	enter(account, rig, traffic, lost)
	const others = withoutOver(traffic.requests, [leaves, ...lost.map(({ who }) => who)])
	const odd = others.filter((one) => !isGood(one) && !isRefused(one) && !(ended && one.word === 'killed'))
	assert.deepEqual(tally(odd), {}, 'whatever fails says: try again')
	assert.equal(traffic.wrong, 0, 'tokens of somebody else')
	const late = recoveryTime(others, back)
	const still = tally(others.filter((one) => one.at >= back + recovery && !isGood(one)))
	assert.ok(late <= recovery, `back after ${late} ms: ${JSON.stringify(still)}`)
	assert.deepEqual(rig.crashes.slice(crashed), [], 'processes that ended by themselves')
	for (const { who, excuse } of lost) assert.ok(excuse, `the session of ${who.person.name} is lost`)
	for (const { who } of lost) await rig.replace(who)
	if (told || losses.length > lost.length) await requireGone(rig, leaves)
	await rig.replace(leaves)
	await holdTokens(rig)
	const excuses = lost.map(({ excuse }) => excuse)
	return [
		`back after ${Math.round(late)} ms`,
		...(lost.length > 0 ? [`lost ${lost.length}: ${[...new Set(excuses)].join(', ')}`] : []),
	].join('; ')
}

console.log(`chaos: seed ${seed}, ${seconds} s, ${rate} requests a second`)
const began = performance.now()
const elapsed = () => (performance.now() - began) / 1000
const processes = 1 + (seed % 4)
const rig = await createRig({ seed, processes })
console.log(`${processes} process${processes === 1 ? '' : 'es'}, ${rig.signedIn.length} people`)
const unhandled: unknown[] = []
process.on('unhandledRejection', (error) => unhandled.push(error))
const account = openAccount()
let rounds = 0
try {
	await holdTokens(rig)
	for (; elapsed() < seconds; rounds++) {
		const drawn = draw(rig.random)
		const what = drawn.map(({ group, name }) => `${group} ${name}`).join(' and ')
		process.stdout.write(`${elapsed().toFixed(0)} s, round ${rounds + 1}: ${what}; `)
		console.log(await round(rig, drawn, account))
	}
	assert.deepEqual(unhandled, [], 'rejections that nobody has taken')
} catch (error) {
	console.error(error)
	console.error(`chaos: failed in round ${rounds + 1}; again: CHAOS_SEED=${seed} npm run chaos`)
	process.exitCode = 1
} finally {
	await Promise.race([rig.close(), sleep(20_000, undefined, { ref: false })])
}
console.log(JSON.stringify({ rounds, ...account }, null, 2))
if (process.exitCode !== 1) console.log(`chaos: everything holds, seed ${seed}, ${rounds} rounds`)
process.exit()
