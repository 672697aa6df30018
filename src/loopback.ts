/** Whether a host name, as a URL or an option has it, is this very machine by one of its usual names. */
export function isLoopback(hostname: string): boolean {
	return /^(?:localhost|127\.0\.0\.1|\[?::1\]?)$/i.test(hostname)
}
