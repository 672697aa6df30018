// npm run chaos: draws faults and pairs of faults for CHAOS_SECONDS (default 300) under load, and holds what must hold
// whatever happens. CHAOS_SEED repeats a run's faults.
import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import {
	clockFaults,
	type Fault,
	loadFaults,
	lostAnswers,
	processFaults,
	providerFaults,
	redisLinkFaults,
	redisServerFaults,
	type Stroke,
	threadFaults,
} from '../faults/faults.js'
import { createRig, deadlines, type Rig, type SignedIn } from '../faults/rig.js'
import {
	type Account,
	enter,
	findLosses,
	holdTokens,
	isGood,
	isRefused,
	openAccount,
	type Request,
	recoveryTime,
	Traffic,
	tally,
	withoutOver,
} from '../faults/traffic.js'
import type { BrokerProcess } from '../support/broker-process.js'

const seed = Number(process.env.CHAOS_SEED || randomInt(2 ** 31))
const seconds = Number(process.env.CHAOS_SECONDS || 300)
const rate = Number(process.env.CHAOS_RATE || 100)

/** Milliseconds: in which two faults begin, which a fault lasts at least and at most, in which all must be well again. */
const [apart, shortest, longest, recovery] = [1000, 1000, 4000, 5000]
/** Milliseconds after which a round hangs. */
const patience = 120_000

interface Drawn {
	readonly part: string
	readonly name: string
	readonly fault: Fault
}

/** Of each group one may strike at a time; the same part may be in two. */
const { exits, 'throws late': throwsLate, ...illness } = threadFaults
const { 'is told to end': toldToEnd, 'is killed': killed } = processFaults
const groups: readonly { readonly part: string; readonly faults: Readonly<Record<string, Fault>> }[] = [
	{ part: 'Redis', faults: redisLinkFaults },
	{ part: 'Redis', faults: redisServerFaults },
	{ part: 'the provider', faults: { ...providerFaults, 'does what it loses the answers of': lostAnswers } },
	{ part: 'a thread', faults: { exits, 'throws late': throwsLate } },
	// A thread that is ill takes a core, and there are two.
	{ part: 'a thread', faults: { ...illness, ...loadFaults } },
	{ part: 'a process', faults: { 'is told to end': toldToEnd } },
	{ part: 'a process', faults: { 'is killed': killed } },
	{ part: 'the clock', faults: clockFaults },
]

/** One fault, or two. */
function draw(random: () => number): Drawn[] {
	const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T
	const first = pick(groups)
	const chosen = random() < 0.5 ? [first] : [first, pick(groups.filter((group) => group !== first))]
	return chosen.map(({ part, faults }) => {
		const [name, fault] = pick(Object.entries(faults))
		return { part, name, fault }
	})
}

/** How somebody was signed out. */
interface SignOut {
	/** What the browser was answered; `undefined` when nothing came. */
	readonly status: number | undefined
	readonly by: BrokerProcess | undefined
	readonly at: number
}

/** Signs somebody out, by a browser. */
async function signOut({ places }: Rig, { cookie }: SignedIn): Promise<SignOut> {
	const { origin, running: by } = places.find(({ running }) => running) ?? {}
	const asked = fetch(`${origin}/user/logout`, {
		headers: { cookie },
		redirect: 'manual',
		signal: AbortSignal.timeout(deadlines.task + 2000),
	})
	const status = await asked.then((response) => response.status).catch(() => undefined)
	return { status, by, at: performance.now() }
}

/** Who has signed out gets nothing, from no process, by ticket or by cookie. */
async function requireGone(rig: Rig, gone: readonly SignedIn[]): Promise<void> {
	for (const { running, origin } of rig.places) {
		const replies = (await running?.acquire(gone.map(({ session }) => session))) ?? []
		const answered = replies.filter((reply) => !('error' in reply))
		assert.equal(answered.length, 0, 'a session that was signed out is answered a token')
		for (const { cookie } of running ? gone : []) {
			const { status } = await fetch(`${origin}/token`, { headers: { cookie } })
			assert.equal(status, 401, 'a cookie that was signed out is known')
		}
	}
}

/** Whether faults struck, where that can be seen. */
function requireStruck(
	strokes: readonly (Stroke & Drawn & { readonly evident: boolean })[],
	requests: readonly Request[],
	threadsEnded: number,
	processesEnded: number,
): void {
	const alone = strokes.length === 1
	const ends = strokes.some(({ part }) => part === 'a process')
	const sum = (at: 0 | 1) => strokes.reduce((all, { fault }) => all + (fault.endsThreads?.[at] ?? 0), 0)
	const [least, most] = [sum(0), sum(1)]
	// What a process has counted goes with it; and two faults may strike the same thread.
	const fewest = ends ? 0 : alone ? least : Math.min(1, least)
	assert.ok(
		threadsEnded >= fewest && threadsEnded <= most,
		`${threadsEnded} threads have ended: ${least} to ${most} were to`,
	)
	for (const { part, name, from, to, evident } of strokes) {
		const during = requests.filter(({ at }) => at >= from && at < to)
		const renewed = during.filter(({ kind }) => kind === 'renewed')
		const isSlow = part === 'the provider' && name === 'is slow'
		if (part === 'Redis' || part === 'the provider')
			assert.ok(
				renewed.length < 10 || evident || during.some((one) => isRefused(one) || (isSlow && one.ms > 900)),
				`nobody felt that ${part} ${name}`,
			)
		if (part === 'a process') assert.ok(processesEnded > 0, 'no process has ended')
		if (name === 'is two hours ahead' && alone)
			assert.ok(
				during.some(({ kind, word }) => kind === 'held' && word !== 'hit'),
				'no token has expired',
			)
	}
}

/** Breaks something, mends it, and looks at everything. @returns what came of it, for the log */
async function round(rig: Rig, drawn: readonly Drawn[], account: Account, gone: SignedIn[]): Promise<string> {
	const { random } = rig
	const [crashed, ended, failures] = [rig.crashes.length, rig.ends.size, await rig.threadFailures()]
	const traffic = new Traffic(rig, rate)
	traffic.start()
	await sleep(500)
	const leaves = rig.signedIn[Math.floor(random() * rig.signedIn.length)] as SignedIn
	const begun = drawn.map(async ({ fault }, at) => {
		await sleep(at * random() * apart)
		const evidence = fault.evidence?.(rig) ?? 0
		const from = performance.now()
		await fault.begin(rig)
		return { from, evidence }
	})
	await sleep(shortest + random() * (longest - shortest))
	// Before the processes are replaced, so perhaps of none of those that will be asked.
	const left = await signOut(rig, leaves)
	const began = await Promise.all(begun)
	const strokes: (Stroke & Drawn & { readonly evident: boolean })[] = []
	for (const [at, one] of drawn.entries()) {
		const { from, evidence } = began[at] as (typeof began)[number]
		const evident = (one.fault.evidence?.(rig) ?? 0) > evidence
		await one.fault.end(rig)
		strokes.push({ ...one, from, to: performance.now(), evident })
	}
	const back = performance.now()
	await sleep(recovery + 1000)
	await traffic.stop()
	const losses = await findLosses(rig, traffic, strokes)
	const lost = losses.filter(({ who }) => who !== leaves)
	enter(account, rig, traffic, lost)
	const others = withoutOver(traffic.requests, [leaves, ...lost.map(({ who }) => who)])
	const odd = others.filter((one) => !isGood(one) && !isRefused(one) && !isOfEnd(one, strokes))
	assert.deepEqual(tally(odd), {}, 'whatever fails says: try again')
	assert.equal(traffic.wrong, 0, 'tokens of somebody else')
	const late = recoveryTime(others, back)
	const still = tally(others.filter((one) => one.at >= back + recovery && !isGood(one)))
	assert.ok(late <= recovery, `back after ${late} ms: ${JSON.stringify(still)}`)
	assert.deepEqual(rig.crashes.slice(crashed), [], 'processes that ended by themselves')
	for (const { who, excuse } of lost) assert.ok(excuse, `the session of ${who.person.name} is lost`)
	const threadsEnded = [...(await rig.threadFailures())].reduce(
		(sum, [one, count]) => sum + count - (failures.get(one) ?? 0),
		0,
	)
	requireStruck(strokes, traffic.requests, threadsEnded, rig.ends.size - ended)
	for (const { who } of lost) await rig.replace(who)

	assert.ok(
		left.status === undefined ? !left.by || rig.ends.has(left.by) : [303, 503].includes(left.status),
		`a sign-out was answered ${left.status}`,
	)
	// What a process could not tell the store it tells it when that is back, if it is there still.
	const isOut =
		left.status === 303 || (left.status === 503 && rig.places.some(({ running }) => running === left.by))
	const afterwards = traffic.requests.filter(
		(one) => one.who === leaves && one.kind !== 'page' && isGood(one),
	)
	if (isOut) {
		// Whoever is told that it is done is out at once where they were, and elsewhere when that is heard of. Who is not is
		// out when Redis is back: that may have to say first who they are.
		const wasAway = drawn.some(({ part }) => part === 'Redis')
		const known = left.status === 303 ? left.at : back + recovery
		const heard = left.status === 303 && !wasAway ? left.at + 1000 : back + recovery
		const served = afterwards.filter(({ at, process }) => at > (process === left.by ? known : heard))
		assert.deepEqual(tally(served), {}, 'who has signed out is served')
	}
	if (isOut || losses.length > lost.length) gone.push(leaves)
	await requireGone(rig, gone)
	await rig.replace(leaves)
	await holdTokens(rig)
	const excuses = lost.map(({ excuse }) => excuse)
	return [
		`back after ${Math.round(late)} ms`,
		`sign-out ${left.status}`,
		...(lost.length > 0 ? [`lost ${lost.length}: ${[...new Set(excuses)].join(', ')}`] : []),
	].join('; ')
}

/** Whether nothing came because a process had to end: of one that was killed, or over a connection that it closed. */
function isOfEnd({ word }: Request, strokes: readonly Drawn[]): boolean {
	const was = (name: string) => strokes.some((one) => one.part === 'a process' && one.name === name)
	return (word === 'killed' && was('is killed')) || (word === 'cut off' && was('is told to end'))
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
const gone: SignedIn[] = []
let rounds = 0
let what = 'the start'
try {
	await holdTokens(rig)
	for (; rounds === 0 || elapsed() < seconds; rounds++) {
		const drawn = draw(rig.random)
		what = drawn.map(({ part, name }) => `${part} ${name}`).join(' and ')
		process.stdout.write(`${elapsed().toFixed(0)} s, round ${rounds + 1}: ${what}; `)
		const late = new AbortController()
		const hangs = sleep(patience, undefined, { signal: late.signal }).then(() => {
			throw new Error(`The round is not over after ${patience / 1000} s.`)
		})
		hangs.catch(() => {})
		console.log(await Promise.race([round(rig, drawn, account, gone), hangs]).finally(() => late.abort()))
	}
	assert.deepEqual(unhandled, [], 'rejections that nobody has taken')
} catch (error) {
	console.error(error)
	console.error(`chaos: failed in round ${rounds + 1}, ${what}; again: CHAOS_SEED=${seed} npm run chaos`)
	process.exitCode = 1
} finally {
	await Promise.race([rig.close(), sleep(20_000, undefined, { ref: false })])
}
console.log(JSON.stringify({ rounds, ...account }, null, 2))
if (process.exitCode !== 1) console.log(`chaos: everything holds, seed ${seed}, ${rounds} rounds`)
process.exit()
