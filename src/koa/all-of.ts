import { conditionsOf, createGuard, type Guard, meets, type Predicate } from './guard.js'

/**
 * Lets people through who meet all conditions: guards, or functions of `(ctx, account)`. They are asked in order, up
 * to the first that is not met.
 *
 * @example
 * ```js
 * router.delete('/reports/:id', allOf(hasRole('Reports.Write'), (ctx, account) => owns(account.objectId, ctx.params.id)))
 * ```
 * @throws ERR_CONFIG without a condition
 */
export function allOf(...conditions: readonly (Guard | Predicate)[]): Guard {
	const checks = conditionsOf('allOf', conditions)
	return createGuard('allOf', async (ctx, account) => {
		for (const check of checks) if (!(await meets(check, ctx, account))) return false
		return true
	})
}
