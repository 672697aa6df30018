/**
 * Waits for work no longer than this.
 * @param milliseconds from now on
 * @param late what counts when they are over: what it returns or throws. The work goes on, and its failure is nobody's.
 */
export async function withTimeout<T, L = never>(
	work: Promise<T>,
	milliseconds: number,
	late: () => L,
): Promise<T | L> {
	let timer: NodeJS.Timeout | undefined
	const over = new Promise<void>((resolve) => {
		timer = setTimeout(resolve, milliseconds)
	}).then(late)
	try {
		return await Promise.race([work, over])
	} finally {
		clearTimeout(timer)
	}
}
