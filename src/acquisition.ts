import { setTimeout as sleep } from 'node:timers/promises'
import { BrokerError } from './errors.js'
import type { ProviderSlots } from './provider-slots.js'
import type { Flight } from './single-flight.js'
import type { AcquireAnswer, AcquireFailure, AcquireParams, AcquireResult } from './wire.js'

/** Milliseconds between two looks at a partition that somebody else refreshes: the first, and the longest. */
const patience = { first: 15, longest: 200 }

/** What the loop itself decides about a step. */
export type Step = Pick<AcquireParams, 'lease' | 'otherThan'>

/** A result, and for how long another process's refresh was waited for, in milliseconds. */
export type Acquired = AcquireResult & { readonly leaseWait?: number }

/**
 * Answers a miss in as few steps as it takes, mostly one. There is one refresh at a time for a partition, whatever
 * process asks, and so many in this process as there are slots. Waiting happens here: a worker that waited for a
 * slot or for another process would keep short tasks of other people from being done.
 *
 * @param forced no token that the blob holds will do
 * @param joins a refresh that ends while we wait for it answers us too
 * @param deadline of `performance.now()`, which a clock that is set does not move
 * @param whileWanted ends a wait that nobody waits for: what runs goes on, and what is queued is dropped
 * @throws ERR_OVERLOADED at the deadline, and whatever a step throws
 */
export async function acquireInSteps(
	step: (how: Step) => Promise<Exclude<AcquireAnswer, AcquireFailure>>,
	slots: ProviderSlots,
	{
		forced,
		joins,
		deadline,
		whileWanted,
	}: {
		readonly forced: boolean
		readonly joins: boolean
		readonly deadline: number
		readonly whileWanted: Flight<unknown>['whileWanted']
	},
): Promise<Acquired> {
	const lease = forced ? 'always' : 'if-expired'
	let otherThan: string | undefined
	let wait = patience.first
	let leaseWait = 0
	let outrun = false
	let slot = slots.tryTake()
	try {
		for (;;) {
			// Nothing that is stored answers it, so there is nothing to look at before it is its turn.
			if (!slot && forced && otherThan === undefined) {
				await whileWanted((signal) => slots.take(deadline - performance.now(), signal))
				slot = true
			}
			const answer = await step({
				lease: slot ? lease : 'never',
				...(otherThan !== undefined && { otherThan }),
			})
			switch (answer.state) {
				case 'done':
					return leaseWait > 0 ? { ...answer, leaseWait } : answer
				case 'busy':
					if (joins) otherThan ??= answer.held
					// Others may refresh meanwhile: a slot is for calling the provider, not for waiting.
					if (slot) slots.give()
					slot = false
					if (performance.now() + wait > deadline)
						throw tooLate('Another process has been refreshing this session for too long.')
					await whileWanted((signal) => sleep(wait, undefined, { signal }))
					leaseWait += wait
					wait = Math.min(wait * 1.5, patience.longest)
					slot = slots.tryTake()
					break
				case 'needs-refresh':
					if (!slot) await whileWanted((signal) => slots.take(deadline - performance.now(), signal))
					slot = true
					break
				case 'outrun':
					if (outrun) throw tooLate('Others keep refreshing this session.')
					outrun = true
					if (joins) otherThan ??= answer.held
			}
		}
	} finally {
		if (slot) slots.give()
	}
}

function tooLate(message: string): BrokerError {
	return new BrokerError('ERR_OVERLOADED', message, { retryAfter: 2 })
}
