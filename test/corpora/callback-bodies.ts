/**
 * Shapes of a request to the redirect URI that are no answer of a provider. Written for this project after the rules
 * of RFC 9110 (methods, media types, content codings), RFC 9112 (framing), RFC 6749 (3.1: no parameter twice), the
 * URL Standard (application/x-www-form-urlencoded) and the limits of this library; none is copied from a list.
 */
export interface CallbackBody {
	readonly what: string
	/** Default `POST`. */
	readonly method?: string
	/** Default: a form's type. */
	readonly headers?: readonly string[]
	/** Latin-1, as it is sent. `STATE` and `CODE` stand for those of a sign-in under way. */
	readonly body?: string
	/** What Content-Length says, if it is not the length, or `none`. */
	readonly length?: number | 'none'
	/** The statuses that are right; 0 for none, of a connection that the client ends. */
	readonly status: readonly number[]
}

const form = 'Content-Type: application/x-www-form-urlencoded'
const type = (value: string) => [`Content-Type: ${value}`]
const field = (name: string, value: string) => `${name}=${value}`
const fields = (count: number) => Array.from({ length: count }, (_, i) => `f${i}=1`).join('&')
const chunked = (head: string, body: string, status: readonly number[] = [400]): Partial<CallbackBody> => ({
	headers: [form, head],
	length: 'none',
	body,
	status,
})

const methods = ['GET', 'HEAD', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND', 'TRACE', 'QUERY', 'M-SEARCH']
const types = [
	'application/json',
	'application/json; charset=utf-8',
	'multipart/form-data; boundary=x',
	'multipart/form-data',
	'text/plain',
	'text/html',
	'text/xml',
	'application/xml',
	'application/octet-stream',
	'application/x-www-form-urlencoded-x',
	'x-application/x-www-form-urlencoded',
	'application/x-www-form-urlencoded, text/plain',
	'application/*',
	'*/*',
	'form',
	'',
	';',
	'application',
	'application/x-www-form-urlencoded\u00e9',
]
const texts: Readonly<Record<string, string>> = {
	'an equals sign': '=',
	'ampersands alone': '&&&&',
	'a percent sign': '%',
	'a broken encoding': 'state=%zz&code=%',
	'an overlong encoding': 'state=%c0%af&code=%e0%80%af',
	'bytes that are not UTF-8': 'state=\xff\xfe&code=\x80',
	'a byte order mark': '\xef\xbb\xbfstate=STATEx&code=CODE',
	'a NUL in a name': 'state\0=STATE&code=CODE',
	'a NUL in a value': 'state=STATE\0&code=CODE',
	'line breaks': 'state=STATE\r\n&code=CODE\r\n',
	'a space before a name': ' state=STATE&code=CODE',
	'a plus before a name': '+state=STATE&code=CODE',
	'names in upper case': 'STATE_=STATE&Code=CODE',
	'semicolons between fields': 'state=STATE;code=CODE',
	'a state that is empty': 'state=&code=CODE',
	'a state without a value': 'state&code=CODE',
	'no state': 'code=CODE',
	'another state': 'state=x&code=CODE',
	'a state and more': 'state=STATEx&code=CODE',
	'a state of several lines': 'state=STATE%0d%0aX-Evil:%201&code=CODE',
	'a state twice': 'state=STATE&state=STATE&code=CODE',
	'two states': 'state=x&state=STATE&code=CODE',
	'a code twice': 'state=STATE&code=CODE&code=CODE',
	'an error twice': 'state=STATE&error=a&error=b',
	'an issuer twice': 'state=STATE&code=CODE&iss=a&iss=a',
	'a state in a list': 'state[]=STATE&code=CODE',
	'a state in an object': 'state[a]=STATE&code=CODE',
	'a list of a list': `state${'[]'.repeat(1000)}=STATE`,
	'a prototype': '__proto__=1&__proto__[state]=STATE&code=CODE',
	'a constructor': 'constructor[prototype][state]=STATE&toString=1&hasOwnProperty=1',
	JSON: '{"state":"STATE","code":"CODE"}',
	XML: '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><state>&b;</state>',
	'a form with boundaries': '--x\r\nContent-Disposition: form-data; name="state"\r\n\r\nSTATE\r\n--x--\r\n',
	'as many fields as there may be': fields(32),
	'one field too many': fields(33),
	'a thousand fields': fields(1000),
	'a state that is too long': field('state', 'x'.repeat(8193)),
	'a code that is too long': `state=STATE&${field('code', 'x'.repeat(8193))}`,
	'a name that is long': field('x'.repeat(50_000), '1'),
}

export const callbackBodies: readonly CallbackBody[] = [
	// Node answers a method that it does not know, and HEAD and GET without a body are whole.
	...methods.map((method) => ({
		what: `the method ${method}`,
		method,
		body: 'state=STATE&code=CODE',
		status: [405],
	})),
	{ what: 'a method that there is not', method: 'STEAL', body: '', status: [400] },
	{ what: 'a method in lower case', method: 'post', body: '', status: [400] },
	...types.map((value) => ({
		what: `the type "${value}"`,
		headers: type(value),
		body: 'state=STATE&code=CODE',
		status: [415],
	})),
	{ what: 'no type', headers: [], body: 'state=STATE&code=CODE', status: [415] },
	{
		what: 'two types, the wrong one first',
		headers: [...type('text/plain'), form],
		body: 'state=STATE&code=CODE',
		status: [415],
	},
	{ what: 'no body', body: '', length: 'none', status: [415] },
	{ what: 'an empty body', body: '', length: 0, status: [400, 415] },
	...Object.entries(texts).map(([what, body]) => ({ what, body, status: [400] })),
	{ what: 'a byte too many', body: field('state', 'x'.repeat(56 * 1024 - 5)), status: [413] },
	{ what: 'a gigabyte, it says', body: 'state=STATE', length: 1024 ** 3, status: [413] },
	{
		what: 'a length beyond numbers',
		body: 'state=STATE',
		length: Number.MAX_SAFE_INTEGER,
		status: [400, 413],
	},
	{ what: 'a length below zero', body: 'state=STATE', length: -1, status: [400] },
	{ what: 'a length of a fraction', body: 'state=STATE', length: 1.5, status: [400] },
	{ what: 'two lengths', headers: [form, 'Content-Length: 3'], body: 'state=STATE', status: [400] },
	{
		what: 'a length and chunks',
		headers: [form, 'Transfer-Encoding: chunked'],
		body: '0\r\n\r\n',
		status: [400],
	},
	{
		what: 'a body that is shorter than it says, and then the end',
		body: 'state=',
		length: 20,
		status: [0, 400],
	},
	{
		what: 'packed bytes',
		headers: [form, 'Content-Encoding: gzip'],
		body: '\x1f\x8b\x08\0\0\0\0\0\0\x03',
		status: [400, 415],
	},
	{
		what: 'a coding that there is not',
		headers: [form, 'Content-Encoding: evil'],
		body: 'state=STATEx',
		status: [400, 415],
	},
	{
		what: 'an expectation that there is not',
		headers: [form, 'Expect: tea'],
		body: 'state=STATE',
		status: [417],
	},
	{ what: 'a header with a NUL', headers: [form, 'X-A: a\0b'], body: 'state=STATE', status: [400] },
	{ what: 'a header without a name', headers: [form, ': a'], body: 'state=STATE', status: [400] },
	{ what: 'a folded header', headers: [form, 'X-A: a\r\n b'], body: 'state=STATEx', status: [400] },
	{
		what: 'headers of 20 kB',
		headers: [form, `X-A: ${'a'.repeat(20_000)}`],
		body: 'state=STATE',
		status: [431],
	},
	...(
		[
			['chunks that are none', 'Transfer-Encoding: chunked', 'zz\r\nstate\r\n0\r\n\r\n'],
			['a chunk of a size below zero', 'Transfer-Encoding: chunked', '-1\r\nstate\r\n0\r\n\r\n'],
			['a chunk of a size beyond numbers', 'Transfer-Encoding: chunked', 'ffffffffffffffffff\r\nstate\r\n'],
			['a chunk that is longer than it says', 'Transfer-Encoding: chunked', '2\r\nstate=x\r\n0\r\n\r\n'],
			['chunks of another coding', 'Transfer-Encoding: gzip, chunked', '5\r\nstate\r\n0\r\n\r\n'],
			['a coding that is not chunked', 'Transfer-Encoding: identity', 'state=x'],
		] as const
	).map(([what, head, body]) => ({ what, ...chunked(head, body, [0, 400, 415, 501]) }) as CallbackBody),
	{
		what: 'chunks with extensions and trailers',
		...chunked('Transfer-Encoding: chunked', '7;a=b\r\nstate=x\r\n0\r\nX-Evil: 1\r\n\r\n'),
	} as CallbackBody,
]
