import type { Context } from 'koa'
import { BrokerError } from '../errors.js'
import { conditionsOf, createGuard, type Guard, meets, type Predicate } from './guard.js'

/**
 * Lets people through who meet one condition or more: guards, or functions of `(ctx, account)`. They are asked in
 * order, up to the first that is met. One that throws is not met; when no other is, its error counts: rather what the
 * person can mend by a sign-in or a consent, then what went wrong on our side, which cannot be called a refusal.
 *
 * @example
 * ```js
 * router.get('/reports', anyOf(hasRole('Admin'), inGroup('99999999-0000-4000-8000-000000000001')))
 * ```
 * @throws ERR_CONFIG without a condition
 */
export function anyOf(...conditions: readonly (Guard | Predicate)[]): Guard {
	const checks = conditionsOf('anyOf', conditions)
	return createGuard('anyOf', async (ctx, account) => {
		const errors: unknown[] = []
		for (const check of checks)
			try {
				if (await meets(check, ctx, account)) {
					report(ctx, errors)
					return true
				}
			} catch (error) {
				// Whatever else is met: there is nobody any more whom it is met by.
				if (codeOf(error) === 'ERR_SIGNED_OUT') throw error
				errors.push(error)
			}
		if (errors.length === 0) return false
		const counts =
			errors.find((error) => codeOf(error) === 'ERR_INTERACTION_REQUIRED') ??
			errors.find((error) => codeOf(error) !== 'ERR_FORBIDDEN') ??
			errors[0]
		report(
			ctx,
			errors.filter((error) => error !== counts),
		)
		throw counts
	})
}

/** What is answered otherwise is not to be lost: a condition that always throws would never be mended. */
function report(ctx: Context, errors: readonly unknown[]): void {
	for (const error of errors)
		if (codeOf(error) !== 'ERR_FORBIDDEN' && codeOf(error) !== 'ERR_INTERACTION_REQUIRED')
			ctx.app.emit('error', error, ctx)
}

function codeOf(error: unknown): string | undefined {
	return error instanceof BrokerError ? error.code : undefined
}
