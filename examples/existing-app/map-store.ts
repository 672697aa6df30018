/** Where the shop has always kept its sessions: in this process. */
export class MapStore {
	readonly entries = new Map<string, { readonly session: object; readonly until: number }>()

	async get(key: string): Promise<object | undefined> {
		const entry = this.entries.get(key)
		return entry && entry.until > Date.now() ? entry.session : undefined
	}

	async set(key: string, session: object, maxAge: number): Promise<void> {
		this.entries.set(key, { session, until: Date.now() + maxAge })
	}

	async destroy(key: string): Promise<void> {
		this.entries.delete(key)
	}
}
