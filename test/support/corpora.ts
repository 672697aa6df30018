import { readFileSync } from 'node:fs'

/** Inputs by the class that they belong to. */
export interface Corpus {
	/** Where they come from. */
	readonly about: string
	readonly inputs: Readonly<Record<string, readonly string[]>>
}

/** @param name of a file in test/corpora */
export function readCorpus(name: string): Corpus {
	const file = new URL(`../../../test/corpora/${name}.json`, import.meta.url)
	return JSON.parse(readFileSync(file, 'utf8')) as Corpus
}

/** All inputs of a corpus, in its order. */
export function inputsOf(name: string): string[] {
	return Object.values(readCorpus(name).inputs).flat()
}

/** So many of a list, from all over it. */
export function sampleOf<T>(all: readonly T[], count: number): T[] {
	return Array.from({ length: count }, (_, i) => all[Math.floor((i * all.length) / count)] as T)
}
