import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { TaskQueue } from '../src/task-queue.js'

const queueOf = (...tasks: readonly string[]) => {
	const queue = new TaskQueue<string>((task) => task.startsWith('p'))
	for (const task of tasks) queue.push(task)
	return queue
}
const drain = (queue: TaskQueue<string>) => Array.from({ length: queue.size }, () => queue.shift())

describe('tasks that wait for a thread', () => {
	it('are taken in turns of what was let in before and what is new, each in the order that it came', () => {
		const queue = queueOf('n1', 'n2', 'n3', 'p1', 'p2', 'n4')
		assert.equal(queue.size, 6)
		assert.deepEqual(drain(queue), ['p1', 'n1', 'p2', 'n2', 'n3', 'n4'])
		assert.deepEqual([queue.shift(), queue.size], [null, 0])
	})

	it('are next when they were given back, and gone when they were removed', () => {
		const queue = queueOf('n1', 'n2', 'p1', 'p2')
		const first = queue.shift() as string
		queue.unshift(first)
		queue.remove('n1')
		queue.remove('p2')
		assert.deepEqual(drain(queue), [first, 'n2'])
		queue.unshift('n3')
		queue.remove('n3')
		assert.equal(queue.size, 0)
	})
})
