import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { TokenBroker } from '../src/broker.js'
import * as api from '../src/index.js'
import { SessionHandle } from '../src/session-handle.js'
import { Sessions } from '../src/sessions.js'

const folder = fileURLToPath(new URL('../../docs/', import.meta.url))
const text = readFileSync(join(folder, 'from-aiohttp-msal.md'), 'utf8')
/** Rows of its tables: theirs, ours, why. */
const rows = text
	.split('\n')
	.filter((line) => line.startsWith('| ') && !line.startsWith('| aiohttp_msal'))
	.map((line) => line.replaceAll('\\|', '/').split('|').slice(1, -1))

/** What aiohttp_msal 0.7.1 and 1.1.4 offer, by name. */
const theirs = `AsyncMSAL from_request save_callback app_kwargs initiate_auth_code_flow acquire_token_by_auth_code_flow
async_acquire_token_by_auth_code_flow get_info get_token async_get_token request get post put patch delete client_session
mail name manager_mail manager_name authenticated redirect /user/login /user/authorized /user/info /user/logout
/user/photo /user/debug login_callback msal_session at_least_one auth_ok auth_or app_init_redis_session max_age
check_proxy_cb check_proxy ENV.load ENV.info ENV.json_dumps json_loads ENV.REDIS ENV.database VAR_HIDE asdict
SettingsBase DOMAIN COOKIE_NAME DEFAULT_SCOPES redis_tools.get_session async_msal_factory session_iter key_match
session_clean expected_keys invalid_sessions redis_get redis_get_json redis_set_set redis_scan_keys get_redis
get_user_info get_manager_info retry html_wrap html_table GraphClient get_url get_route async_wrap dict_property`

describe('the way from aiohttp_msal', () => {
	it('names every part of the original, what takes its place, and what changed', () => {
		const named = rows.map(([part]) => part).join(' ')
		for (const name of theirs.split(/\s+/))
			assert.match(named, new RegExp(`(?<![\\w/])${name.replace('.', '\\.')}(?!\\w)`), name)
		for (const [part, ours, why, ...more] of rows) {
			assert.deepEqual(more, [], part)
			assert.ok(part?.trim() && ours?.trim() && why !== undefined, part)
		}
	})

	it('names verbs that there are, and files', () => {
		const verbs = (name: string, owner: object) =>
			[...text.matchAll(new RegExp(`\\b${name}\\.(\\w+)\\(`, 'g'))].forEach(([call, verb = '']) => {
				assert.ok(verb in owner, call)
			})
		verbs('broker', TokenBroker.prototype)
		verbs('broker\\.sessions', Sessions.prototype)
		verbs('handle', SessionHandle.prototype)
		for (const name of ['allOf', 'anyOf', 'createMsalSession', 'describeSettings', 'koaMsal', 'startSignIn'])
			assert.ok(text.includes(`${name}(`) && name in api, name)
		for (const [, file = ''] of text.matchAll(/\]\((\.\.\/[^)]+)\)/g))
			assert.ok(existsSync(join(folder, file)), file)
	})
})
