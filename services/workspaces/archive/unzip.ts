/**
 * unzip — opens an archive nobody has checked. Everything is judged from the central directory before a byte is inflated:
 * names that leave the folder, symbolic links, duplicates, wrong encodings, encryption, sizes and counts are refused with the entry's name.
 * @see https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
 */
import { crc32, inflateRawSync } from 'node:zlib';
import { fault } from '../../../mixins/shared/errors.ts';

export interface ArchiveLimits {
  entries: number;
  /** Bytes of one entry once inflated. */
  entryBytes: number;
  /** Bytes of all the entries that are read. */
  totalBytes: number;
}

export const ARCHIVE_LIMITS: ArchiveLimits = { entries: 5000, entryBytes: 5_000_000, totalBytes: 100_000_000 };
const MAX_NAME_BYTES = 1024;

const END = 0x06054b50;
const CENTRAL = 0x02014b50;
const LOCAL = 0x04034b50;
const SYMLINK = 0o120000;
const FILE_TYPE = 0o170000;

interface Entry {
  name: string;
  method: number;
  crc: number;
  packedBytes: number;
  bytes: number;
  offset: number;
}

const refused = (message: string, entry?: string) =>
  fault('InvalidUploadError', {
    message: `The archive was refused: ${message}`,
    data: entry === undefined ? {} : { entry: entry.slice(0, 200) },
  });

/**
 * Content of the files of a zip archive, by name; those `wanted` refuses are neither inflated nor counted in bytes.
 * @throws InvalidUploadError naming the entry · PayloadTooLarge
 */
export function unzip(
  archive: Buffer,
  wanted: (name: string) => boolean = () => true,
  limits: ArchiveLimits = ARCHIVE_LIMITS,
): Map<string, Buffer> {
  const contents = new Map<string, Buffer>();
  let total = 0;
  for (const entry of entriesOf(archive, limits)) {
    if (!wanted(entry.name)) continue;
    if (entry.bytes > limits.entryBytes)
      throw fault('PayloadTooLarge', {
        message: `The entry '${entry.name}' is larger than ${limits.entryBytes} bytes.`,
        data: { entry: entry.name, maxBytes: limits.entryBytes },
      });
    total += entry.bytes;
    if (total > limits.totalBytes)
      throw fault('PayloadTooLarge', {
        message: `The archive holds more than ${limits.totalBytes} bytes.`,
        data: { entry: entry.name, maxBytes: limits.totalBytes },
      });
    contents.set(entry.name, inflate(archive, entry));
  }
  return contents;
}

function entriesOf(archive: Buffer, limits: ArchiveLimits): Entry[] {
  const end = findEnd(archive);
  const count = archive.readUInt16LE(end + 10);
  let at = archive.readUInt32LE(end + 16);
  if (count === 0xffff || at === 0xffffffff) throw refused('the zip64 form is not supported.');
  if (count > limits.entries)
    throw fault('PayloadTooLarge', {
      message: `The archive has ${count} entries; ${limits.entries} are accepted.`,
      data: { entries: count, limit: limits.entries },
    });

  const entries: Entry[] = [];
  const seen = new Set<string>();
  for (let index = 0; index < count; index++) {
    if (at + 46 > archive.length || archive.readUInt32LE(at) !== CENTRAL) throw refused('its directory is damaged.');
    const nameBytes = archive.readUInt16LE(at + 28);
    const rest = archive.readUInt16LE(at + 30) + archive.readUInt16LE(at + 32);
    const name = decodeName(archive.subarray(at + 46, at + 46 + nameBytes));
    assertName(name);
    const flags = archive.readUInt16LE(at + 8);
    const mode = archive.readUInt32LE(at + 38) >>> 16;
    if (flags & 1) throw refused(`the entry '${name}' is encrypted.`, name);
    if ((mode & FILE_TYPE) === SYMLINK) throw refused(`the entry '${name}' is a symbolic link.`, name);
    // Two spellings of one name would overwrite each other where case or composition of letters does not count.
    const key = name.normalize('NFC').toLowerCase();
    if (seen.has(key)) throw refused(`the name '${name}' appears twice.`, name);
    seen.add(key);
    if (!name.endsWith('/'))
      entries.push({
        name,
        method: archive.readUInt16LE(at + 10),
        crc: archive.readUInt32LE(at + 16),
        packedBytes: archive.readUInt32LE(at + 20),
        bytes: archive.readUInt32LE(at + 24),
        offset: archive.readUInt32LE(at + 42),
      });
    at += 46 + nameBytes + rest;
  }
  return entries;
}

function findEnd(archive: Buffer): number {
  // The end record is 22 bytes and a comment of at most 65 535.
  for (let at = archive.length - 22; at >= 0 && at >= archive.length - 22 - 0xffff; at--) if (archive.readUInt32LE(at) === END) return at;
  throw refused('it is not a zip file.');
}

function decodeName(bytes: Buffer): string {
  if (bytes.length > MAX_NAME_BYTES) throw refused(`a name is longer than ${MAX_NAME_BYTES} bytes.`, bytes.toString('latin1', 0, 100));
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw refused('a name is not UTF-8.', bytes.toString('latin1'));
  }
}

function assertName(name: string): void {
  const segments = name.replace(/\/$/, '').split('/');
  const isBad = name === '' || name.startsWith('/') || name.includes('\\') || /\p{Cc}/u.test(name) || /^[a-zA-Z]:/.test(name);
  if (isBad || segments.some((segment) => segment === '..' || segment === '.' || segment === ''))
    throw refused(`the name '${name}' leaves its folder.`, name);
}

function inflate(archive: Buffer, { name, method, crc, packedBytes, bytes, offset }: Entry): Buffer {
  if (offset + 30 > archive.length || archive.readUInt32LE(offset) !== LOCAL) throw refused(`the entry '${name}' is damaged.`, name);
  const start = offset + 30 + archive.readUInt16LE(offset + 26) + archive.readUInt16LE(offset + 28);
  const packed = archive.subarray(start, start + packedBytes);
  if (packed.length !== packedBytes) throw refused(`the entry '${name}' is cut off.`, name);
  let content: Buffer;
  try {
    if (method === 0) content = packed;
    // A size that lies ends here: never more than it said.
    else if (method === 8) content = inflateRawSync(packed, { maxOutputLength: Math.max(bytes, 1) });
    else throw new Error(`compression method ${method}`);
  } catch {
    throw refused(`the entry '${name}' cannot be inflated.`, name);
  }
  if (content.length !== bytes || crc32(content) !== crc) throw refused(`the entry '${name}' is not what its directory says.`, name);
  return content;
}
