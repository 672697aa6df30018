import { cacheBlobs } from './cache-blobs.js'
import { cookies } from './cookies.js'
import { downstreamUrls } from './downstream-urls.js'
import { formBodies } from './form-bodies.js'
import { type FuzzReport, type FuzzRequest, fuzz, type Target } from './fuzz.js'
import { returnTo } from './return-to.js'
import { storedSessions } from './stored-sessions.js'
import { tokenAnswers } from './token-answers.js'
import type { FuzzWorld } from './world.js'

function prepare<Input>(name: string, target: Target<Input>) {
	const run = async (world: FuzzWorld, request: FuzzRequest): Promise<FuzzReport> =>
		fuzz(name, await target(world), request)
	return { name, run }
}

/** Every target, one file each. */
export const targets = [
	prepare('cache-blobs', cacheBlobs),
	prepare('cookies', cookies),
	prepare('downstream-urls', downstreamUrls),
	prepare('form-bodies', formBodies),
	prepare('return-to', returnTo),
	prepare('stored-sessions', storedSessions),
	prepare('token-answers', tokenAnswers),
]
