/**
 * qr — a text as a QR code, drawn here so that the secret of a second factor is shown to nobody else: byte mode, error correction M, versions 1 to 20
 * (at most 666 bytes). @see ISO/IEC 18004:2015; the steps and their order follow its chapter 7.
 */
import { fault } from '../../../mixins/shared/errors.ts';

const MAX_VERSION = 20;
/** Per version: error correction bytes of a block, and number of blocks, at level M (table 9). */
const ECC_BYTES = [10, 16, 26, 18, 24, 16, 18, 22, 22, 26, 30, 22, 22, 24, 24, 28, 28, 26, 26, 26];
const BLOCKS = [1, 1, 1, 2, 2, 4, 4, 4, 5, 5, 5, 8, 9, 9, 10, 10, 11, 13, 14, 16];

type Grid = boolean[][];

/** Modules left for data and error correction, in bits. */
function rawBits(version: number): number {
  let bits = (16 * version + 128) * version + 64;
  if (version >= 2) {
    const aligned = Math.floor(version / 7) + 2;
    bits -= (25 * aligned - 10) * aligned - 55;
    if (version >= 7) bits -= 36;
  }
  return bits;
}

const rawBytes = (version: number) => Math.floor(rawBits(version) / 8);
const dataBytes = (version: number) => rawBytes(version) - (ECC_BYTES[version - 1] as number) * (BLOCKS[version - 1] as number);

/** Product in GF(2^8) modulo x^8 + x^4 + x^3 + x^2 + 1. */
function times(x: number, y: number): number {
  let z = 0;
  for (let i = 7; i >= 0; i--) {
    z = (z << 1) ^ ((z >>> 7) * 0x11d);
    z ^= ((y >>> i) & 1) * x;
  }
  return z;
}

function generator(degree: number): number[] {
  const result = Array.from({ length: degree }, (_, i) => Number(i === degree - 1));
  let root: number = 1;
  for (let i = 0; i < degree; i++) {
    for (let j = 0; j < degree; j++) {
      result[j] = times(result[j] as number, root);
      if (j + 1 < degree) result[j] = (result[j] as number) ^ (result[j + 1] as number);
    }
    root = times(root, 2);
  }
  return result;
}

function remainder(data: number[], divisor: number[]): number[] {
  const result = divisor.map(() => 0);
  for (const byte of data) {
    const factor = byte ^ (result.shift() as number);
    result.push(0);
    divisor.forEach((coefficient, i) => {
      result[i] = (result[i] as number) ^ times(coefficient, factor);
    });
  }
  return result;
}

/** Header, text and padding as bytes. */
function dataOf(bytes: Uint8Array, version: number): number[] {
  const bits: number[] = [];
  const push = (value: number, length: number): void => {
    for (let i = length - 1; i >= 0; i--) bits.push((value >>> i) & 1);
  };
  const capacity = dataBytes(version) * 8;
  push(0b0100, 4);
  push(bytes.length, version < 10 ? 8 : 16);
  for (const byte of bytes) push(byte, 8);
  push(0, Math.min(4, capacity - bits.length));
  push(0, (8 - (bits.length % 8)) % 8);
  for (let pad = 0xec; bits.length < capacity; pad ^= 0xec ^ 0x11) push(pad, 8);
  return Array.from({ length: bits.length / 8 }, (_, i) => bits.slice(i * 8, i * 8 + 8).reduce((byte, bit) => (byte << 1) | bit, 0));
}

/** Blocks with their error correction, interleaved. */
function codewords(data: number[], version: number): number[] {
  const blocks = BLOCKS[version - 1] as number;
  const eccLength = ECC_BYTES[version - 1] as number;
  const total = rawBytes(version);
  const shortBlocks = blocks - (total % blocks);
  const shortLength = Math.floor(total / blocks) - eccLength;
  const divisor = generator(eccLength);
  const parts: { data: number[]; ecc: number[] }[] = [];
  for (let i = 0, at = 0; i < blocks; i++) {
    const length = shortLength + (i < shortBlocks ? 0 : 1);
    const part = data.slice(at, at + length);
    at += length;
    parts.push({ data: part, ecc: remainder(part, divisor) });
  }
  const result: number[] = [];
  for (let i = 0; i <= shortLength; i++) for (const part of parts) if (i < part.data.length) result.push(part.data[i] as number);
  for (let i = 0; i < eccLength; i++) for (const part of parts) result.push(part.ecc[i] as number);
  return result;
}

function alignments(version: number, size: number): number[] {
  if (version === 1) return [];
  const count = Math.floor(version / 7) + 2;
  const step = Math.floor((version * 8 + count * 3 + 5) / (count * 4 - 4)) * 2;
  const places = [6];
  for (let at = size - 7; places.length < count; at -= step) places.splice(1, 0, at);
  return places;
}

interface Canvas {
  size: number;
  dark: Grid;
  /** Modules that hold no data. */
  fixed: Grid;
}

function set({ dark, fixed }: Canvas, x: number, y: number, isDark: boolean): void {
  (dark[y] as boolean[])[x] = isDark;
  (fixed[y] as boolean[])[x] = true;
}

function drawPatterns(canvas: Canvas, version: number): void {
  const { size } = canvas;
  for (let i = 0; i < size; i++) {
    set(canvas, 6, i, i % 2 === 0);
    set(canvas, i, 6, i % 2 === 0);
  }
  for (const [cx, cy] of [
    [3, 3],
    [size - 4, 3],
    [3, size - 4],
  ] as const)
    for (let dy = -4; dy <= 4; dy++)
      for (let dx = -4; dx <= 4; dx++) {
        const distance = Math.max(Math.abs(dx), Math.abs(dy));
        const [x, y] = [cx + dx, cy + dy];
        if (x >= 0 && x < size && y >= 0 && y < size) set(canvas, x, y, distance !== 2 && distance !== 4);
      }
  const places = alignments(version, size);
  const last = places.length - 1;
  places.forEach((cx, i) => {
    places.forEach((cy, j) => {
      if ((i === 0 && j === 0) || (i === 0 && j === last) || (i === last && j === 0)) return;
      for (let dy = -2; dy <= 2; dy++)
        for (let dx = -2; dx <= 2; dx++) set(canvas, cx + dx, cy + dy, Math.max(Math.abs(dx), Math.abs(dy)) !== 1);
    });
  });
  drawFormat(canvas, 0);
  if (version >= 7) drawVersion(canvas, version);
}

function drawFormat(canvas: Canvas, mask: number): void {
  const { size } = canvas;
  // Level M is 00.
  let rest = mask;
  for (let i = 0; i < 10; i++) rest = (rest << 1) ^ ((rest >>> 9) * 0x537);
  const bits = ((mask << 10) | rest) ^ 0x5412;
  const bit = (i: number) => ((bits >>> i) & 1) === 1;
  for (let i = 0; i <= 5; i++) set(canvas, 8, i, bit(i));
  set(canvas, 8, 7, bit(6));
  set(canvas, 8, 8, bit(7));
  set(canvas, 7, 8, bit(8));
  for (let i = 9; i < 15; i++) set(canvas, 14 - i, 8, bit(i));
  for (let i = 0; i < 8; i++) set(canvas, size - 1 - i, 8, bit(i));
  for (let i = 8; i < 15; i++) set(canvas, 8, size - 15 + i, bit(i));
  set(canvas, 8, size - 8, true);
}

function drawVersion(canvas: Canvas, version: number): void {
  let rest = version;
  for (let i = 0; i < 12; i++) rest = (rest << 1) ^ ((rest >>> 11) * 0x1f25);
  const bits = (version << 12) | rest;
  for (let i = 0; i < 18; i++) {
    const isDark = ((bits >>> i) & 1) === 1;
    const [a, b] = [canvas.size - 11 + (i % 3), Math.floor(i / 3)];
    set(canvas, a, b, isDark);
    set(canvas, b, a, isDark);
  }
}

function drawCodewords({ size, dark, fixed }: Canvas, bytes: number[]): void {
  let i = 0;
  for (let right = size - 1; right >= 1; right -= 2) {
    if (right === 6) right = 5;
    for (let step = 0; step < size; step++)
      for (const x of [right, right - 1]) {
        const y = ((right + 1) & 2) === 0 ? size - 1 - step : step;
        if ((fixed[y] as boolean[])[x] || i >= bytes.length * 8) continue;
        (dark[y] as boolean[])[x] = (((bytes[i >>> 3] as number) >>> (7 - (i & 7))) & 1) === 1;
        i++;
      }
  }
}

const MASKS: ((x: number, y: number) => boolean)[] = [
  (x, y) => (x + y) % 2 === 0,
  (_x, y) => y % 2 === 0,
  (x) => x % 3 === 0,
  (x, y) => (x + y) % 3 === 0,
  (x, y) => (Math.floor(x / 3) + Math.floor(y / 2)) % 2 === 0,
  (x, y) => ((x * y) % 2) + ((x * y) % 3) === 0,
  (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2 === 0,
  (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2 === 0,
];

function masked({ size, dark, fixed }: Canvas, mask: number): Canvas {
  const isInverted = MASKS[mask] as (x: number, y: number) => boolean;
  const canvas: Canvas = {
    size,
    fixed,
    dark: dark.map((row, y) => row.map((value, x) => ((fixed[y] as boolean[])[x] ? value : value !== isInverted(x, y)))),
  };
  drawFormat(canvas, mask);
  return canvas;
}

/** The four rules of 7.8.3: runs, blocks, finder-like patterns, balance. */
function penalty({ size, dark }: Canvas): number {
  let score = 0;
  const lines = [...dark, ...dark.map((_, x) => dark.map((row) => row[x] as boolean))];
  for (const line of lines) {
    const text = line.map((value) => (value ? '1' : '0')).join('');
    for (const run of text.match(/1{5,}|0{5,}/g) ?? []) score += run.length - 2;
    for (const pattern of ['10111010000', '00001011101'])
      for (let at = text.indexOf(pattern); at >= 0; at = text.indexOf(pattern, at + 1)) score += 40;
  }
  const at = (x: number, y: number) => (dark[y] as boolean[])[x];
  for (let y = 0; y < size - 1; y++)
    for (let x = 0; x < size - 1; x++)
      if (at(x, y) === at(x + 1, y) && at(x, y) === at(x, y + 1) && at(x, y) === at(x + 1, y + 1)) score += 3;
  const total = size * size;
  const count = dark.flat().filter(Boolean).length;
  return score + Math.floor(Math.abs(count * 20 - total * 10) / total) * 10;
}

/** Rows of modules, true is dark, without the quiet zone. @throws BadParametersError for a text that is too long */
export function qrModules(text: string): Grid {
  const bytes = new TextEncoder().encode(text);
  let version = 1;
  while (version <= MAX_VERSION && dataBytes(version) * 8 < 4 + (version < 10 ? 8 : 16) + bytes.length * 8) version++;
  if (version > MAX_VERSION) throw fault('BadParametersError', { message: 'The text is too long for a QR code.' });
  const size = version * 4 + 17;
  const grid = (): Grid => Array.from({ length: size }, () => new Array<boolean>(size).fill(false));
  const canvas: Canvas = { size, dark: grid(), fixed: grid() };
  drawPatterns(canvas, version);
  drawCodewords(canvas, codewords(dataOf(bytes, version), version));
  const candidates = MASKS.map((_, mask) => masked(canvas, mask));
  return candidates.reduce((best, next) => (penalty(next) < penalty(best) ? next : best)).dark;
}

/** The code as an SVG picture with its quiet zone. */
export function qrSvg(text: string): string {
  const modules = qrModules(text);
  const size = modules.length + 8;
  const path = modules.flatMap((row, y) => row.flatMap((isDark, x) => (isDark ? [`M${x + 4} ${y + 4}h1v1h-1z`] : []))).join('');
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size} ${size}" shape-rendering="crispEdges"><path fill="#fff" d="M0 0h${size}v${size}H0z"/><path d="${path}"/></svg>`;
}
