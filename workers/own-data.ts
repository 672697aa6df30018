/** `piscina` wraps `workerData` in its own tuple and puts the application's part second. */
export function ownData<T>(data: unknown): T {
	return (Array.isArray(data) ? data[1] : data) as T
}
