/** PNG files of screens. Those that are kept have 256 colors at most, with which they take half of the bytes. */

import { deflateSync, inflateSync } from 'node:zlib';

/** Red, green and blue of each pixel, line by line. */
export interface Picture {
  width: number;
  height: number;
  pixels: Buffer;
}

const SIGNATURE = Buffer.from('89504e470d0a1a0a', 'hex');
/** The bytes of a pixel for each color type that is read: colors, places in a palette, and colors with opacity. */
const BYTES: Record<number, number> = { 2: 3, 3: 1, 6: 4 };
const COLORS_MAX = 256;
/** By how much colors may differ more that become one, until there are few enough. */
const NEARNESS_STEP = 4;

export function unpacked(file: Buffer): Picture {
  let [width, height, type] = [0, 0, 0];
  let palette = Buffer.alloc(0);
  const parts: Buffer[] = [];
  for (let at = SIGNATURE.length; at < file.length; at += 12 + file.readUInt32BE(at)) {
    const data = file.subarray(at + 8, at + 8 + file.readUInt32BE(at));
    const name = file.toString('latin1', at + 4, at + 8);
    if (name === 'IHDR') [width, height, type] = [data.readUInt32BE(0), data.readUInt32BE(4), data.readUInt8(9)];
    if (name === 'PLTE') palette = Buffer.from(data);
    if (name === 'IDAT') parts.push(data);
  }
  const bytes = BYTES[type];
  if (bytes === undefined) throw new Error(`this color type of PNG is not read: ${type}`);
  const lines = unfiltered(inflateSync(Buffer.concat(parts)), width * bytes, height, bytes);
  const pixels = Buffer.alloc(width * height * 3);
  for (let at = 0; at < width * height; at += 1) {
    if (type === 3) palette.copy(pixels, at * 3, lines.readUInt8(at) * 3, lines.readUInt8(at) * 3 + 3);
    else lines.copy(pixels, at * 3, at * bytes, at * bytes + 3);
  }
  return { width, height, pixels };
}

/** Undoes that each line holds differences to its neighbors (PNG, section 9). */
function unfiltered(data: Buffer, length: number, height: number, bytes: number): Buffer {
  const lines = Buffer.alloc(length * height);
  for (let y = 0; y < height; y += 1) {
    const filter = data[y * (length + 1)];
    for (let x = 0; x < length; x += 1) {
      const at = y * length + x;
      const left = x >= bytes ? (lines[at - bytes] ?? 0) : 0;
      const above = y > 0 ? (lines[at - length] ?? 0) : 0;
      const corner = x >= bytes && y > 0 ? (lines[at - length - bytes] ?? 0) : 0;
      const guess = [0, left, above, (left + above) >> 1, nearest(left, above, corner)][filter ?? 0] ?? 0;
      lines[at] = (data[y * (length + 1) + 1 + x] ?? 0) + guess;
    }
  }
  return lines;
}

function nearest(left: number, above: number, corner: number): number {
  const [toLeft, toAbove, toCorner] = [Math.abs(above - corner), Math.abs(left - corner), Math.abs(left + above - 2 * corner)];
  if (toLeft <= toAbove && toLeft <= toCorner) return left;
  return toAbove <= toCorner ? above : corner;
}

/** Returns a picture of 256 colors at most: each color becomes the most frequent one that is near to it. */
export function reduced({ width, height, pixels }: Picture): Picture {
  const counts = new Map<number, number>();
  for (let at = 0; at < pixels.length; at += 3) counts.set(pixels.readUIntBE(at, 3), (counts.get(pixels.readUIntBE(at, 3)) ?? 0) + 1);
  const sorted = [...counts].sort(([one, often], [other, oftener]) => oftener - often || one - other).map(([color]) => color);
  let near = 0;
  let instead = grouped(sorted, near);
  while (new Set(instead.values()).size > COLORS_MAX) instead = grouped(sorted, (near += NEARNESS_STEP));
  const fewer = Buffer.alloc(pixels.length);
  for (let at = 0; at < pixels.length; at += 3) fewer.writeUIntBE(instead.get(pixels.readUIntBE(at, 3)) ?? 0, at, 3);
  return { width, height, pixels: fewer };
}

/** Returns for each color the first one that is as near to it. */
function grouped(colors: number[], near: number): Map<number, number> {
  const stay: number[] = [];
  return new Map(
    colors.map((color) => {
      const known = stay.find((other) => distance(color, other) <= near);
      if (known === undefined) stay.push(color);
      return [color, known ?? color];
    }),
  );
}

/** Returns the greatest difference of a channel. */
function distance(one: number, other: number): number {
  return Math.max(Math.abs((one >> 16) - (other >> 16)), Math.abs(((one >> 8) & 255) - ((other >> 8) & 255)), Math.abs((one & 255) - (other & 255)));
}

/** Packs a picture of 256 colors at most. */
export function packed({ width, height, pixels }: Picture): Buffer {
  const places = new Map<number, number>();
  const lines = Buffer.alloc((width + 1) * height);
  for (let at = 0; at < width * height; at += 1) {
    const color = pixels.readUIntBE(at * 3, 3);
    const place = places.get(color) ?? places.size;
    places.set(color, place);
    lines[Math.floor(at / width) * (width + 1) + 1 + (at % width)] = place;
  }
  if (places.size > COLORS_MAX) throw new Error(`the picture has ${places.size} colors`);
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 3], 8);
  const palette = Buffer.concat([...places.keys()].map((color) => Buffer.from([color >> 16, (color >> 8) & 255, color & 255])));
  const data = deflateSync(lines, { level: 9, memLevel: 9 });
  return Buffer.concat([SIGNATURE, chunk('IHDR', head), chunk('PLTE', palette), chunk('IDAT', data), chunk('IEND', Buffer.alloc(0))]);
}

function chunk(name: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(name, 'latin1'), data]);
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  sum.writeUInt32BE(checksum(body));
  return Buffer.concat([length, body, sum]);
}

function checksum(data: Buffer): number {
  let sum = 0xffffffff;
  for (const byte of data) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit += 1) sum = sum & 1 ? (sum >>> 1) ^ 0xedb88320 : sum >>> 1;
  }
  return (sum ^ 0xffffffff) >>> 0;
}

/** Returns a picture in which what differs is red, and the rest of the first picture is gray. */
export function difference(one: Picture, other: Picture): Picture {
  const pixels = Buffer.alloc(one.pixels.length);
  for (let at = 0; at < one.width * one.height; at += 1) {
    const [x, y] = [at % one.width, Math.floor(at / one.width)];
    const isThere = x < other.width && y < other.height;
    const place = (y * other.width + x) * 3;
    const isSame = isThere && one.pixels.subarray(at * 3, at * 3 + 3).equals(other.pixels.subarray(place, place + 3));
    const gray = 128 + ((one.pixels[at * 3 + 1] ?? 0) >> 1);
    pixels.set(isSame ? [gray, gray, gray] : [220, 0, 0], at * 3);
  }
  return { width: one.width, height: one.height, pixels };
}
