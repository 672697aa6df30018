import { createHash } from 'node:crypto'
import { crc32, deflateSync } from 'node:zlib'

const CELL = 24
const MARGIN = 12
const CELLS = 5
const SIZE = CELLS * CELL + 2 * MARGIN

/** A square PNG of 144 × 144 with a mirrored pattern in two colours that belong to `id`. */
export function drawPhoto(id: string): Buffer {
	const hash = createHash('sha256').update(id).digest()
	const isSet = (column: number, row: number) => {
		const mirrored = Math.min(column, CELLS - 1 - column)
		return ((hash[2 + row] ?? 0) >> mirrored) % 2 === 1
	}
	const rows = Array.from({ length: SIZE }, (_row, y) => {
		const row = Buffer.alloc(1 + SIZE)
		for (let x = 0; x < SIZE; x++) {
			const column = Math.floor((x - MARGIN) / CELL)
			const line = Math.floor((y - MARGIN) / CELL)
			const inside = column >= 0 && column < CELLS && line >= 0 && line < CELLS
			// Byte 0 of a row is its filter: none.
			row[1 + x] = inside && isSet(column, line) ? 1 : 0
		}
		return row
	})
	const hue = (hash.readUInt16BE(0) / 65_536) * 360
	const palette = Buffer.from([...rgb(hue, 0.35, 0.92), ...rgb(hue, 0.55, 0.38)])
	const header = Buffer.alloc(13)
	header.writeUInt32BE(SIZE, 0)
	header.writeUInt32BE(SIZE, 4)
	// Eight bits per pixel, indexed colour.
	header.set([8, 3], 8)
	return Buffer.concat([
		Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
		chunk('IHDR', header),
		chunk('PLTE', palette),
		chunk('IDAT', deflateSync(Buffer.concat(rows))),
		chunk('IEND', Buffer.alloc(0)),
	])
}

function chunk(type: string, data: Buffer): Buffer {
	const body = Buffer.concat([Buffer.from(type, 'latin1'), data])
	const length = Buffer.alloc(4)
	length.writeUInt32BE(data.length)
	const checksum = Buffer.alloc(4)
	checksum.writeUInt32BE(crc32(body))
	return Buffer.concat([length, body, checksum])
}

/** HSL to 8-bit RGB: https://www.w3.org/TR/css-color-4/#hsl-to-rgb */
function rgb(hue: number, saturation: number, lightness: number): number[] {
	const a = saturation * Math.min(lightness, 1 - lightness)
	return [0, 8, 4].map((n) => {
		const k = (n + hue / 30) % 12
		return Math.round(255 * (lightness - a * Math.max(-1, Math.min(k - 3, 9 - k, 1))))
	})
}
