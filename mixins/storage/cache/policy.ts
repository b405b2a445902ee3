/** policy — what may reach a cache driver: usable keys, sane lives and counts. One place, so that every driver refuses the same. */
import { fault } from '../../shared/errors.ts';
import type { CacheDriver } from './contract.ts';

const MAX_KEY_LENGTH = 1000;
/** Ten years: longer lives overflow what Redis accepts. */
const MAX_TTL_MS = 10 * 365 * 24 * 3_600_000;

const refuse = (message: string) => fault('BadParametersError', { message });

function checkKey(key: unknown): void {
  if (typeof key !== 'string' || key === '' || key.length > MAX_KEY_LENGTH || key.includes('\0') || !key.isWellFormed())
    throw refuse(`A key is a text of 1 to ${MAX_KEY_LENGTH} characters, not '${String(key).slice(0, 60)}'.`);
}

function checkTtl(ttlMs: unknown): void {
  if (ttlMs !== undefined && !(typeof ttlMs === 'number' && ttlMs > 0 && ttlMs <= MAX_TTL_MS))
    throw refuse(`A life is a number of milliseconds above 0, not '${String(ttlMs)}'.`);
}

function checkVersion(version: unknown): void {
  if (version !== undefined && !(Number.isSafeInteger(version) && (version as number) >= 0))
    throw refuse(`A version is a whole number, not '${String(version)}'.`);
}

function checkNumber(value: unknown, name: string): void {
  if (typeof value !== 'number' || !Number.isFinite(value)) throw refuse(`'${name}' is a number, not '${String(value)}'.`);
}

function checkMembers(members: unknown): void {
  if (!Array.isArray(members) || members.some((member) => typeof member !== 'string')) throw refuse('Members are texts.');
}

/** `driver` behind these checks. */
export function guarded(driver: CacheDriver): CacheDriver {
  return {
    async get(key) {
      checkKey(key);
      return driver.get(key);
    },
    async getMany(keys) {
      keys.forEach(checkKey);
      return keys.length ? driver.getMany(keys) : [];
    },
    async set(key, value, options = {}) {
      checkKey(key);
      checkTtl(options.ttlMs);
      checkVersion(options.ifVersion);
      return driver.set(key, value, options);
    },
    async delete(key) {
      checkKey(key);
      return driver.delete(key);
    },
    async expire(key, ttlMs) {
      checkKey(key);
      checkTtl(ttlMs);
      return driver.expire(key, ttlMs);
    },
    async apply(key, operations, options = {}) {
      checkKey(key);
      checkTtl(options.ttlMs);
      checkVersion(options.ifVersion);
      if (!Array.isArray(operations)) throw refuse('Operations are a list.');
      return driver.apply(key, operations, options);
    },
    async increment(key, by, ttlMs) {
      checkKey(key);
      checkTtl(ttlMs);
      if (!Number.isSafeInteger(by)) throw refuse(`A counter counts whole numbers, not '${String(by)}'.`);
      return driver.increment(key, by, ttlMs);
    },
    async takeTokens(key, count, limit) {
      checkKey(key);
      checkNumber(count, 'count');
      checkNumber(limit.perSecond, 'perSecond');
      checkNumber(limit.burst, 'burst');
      if (count < 0 || limit.perSecond <= 0 || limit.burst < 0)
        throw refuse('A token bucket needs a count of 0 or more and a rate above 0.');
      return driver.takeTokens(key, count, limit);
    },
    async append(key, records, options = {}) {
      checkKey(key);
      checkTtl(options.ttlMs);
      return driver.append(key, records, options);
    },
    async list(key, start = 0) {
      checkKey(key);
      checkVersion(start);
      return driver.list(key, start);
    },
    async addMembers(key, members, options = {}) {
      checkKey(key);
      checkMembers(members);
      checkTtl(options.ttlMs);
      return members.length ? driver.addMembers(key, members, options) : 0;
    },
    async removeMembers(key, members) {
      checkKey(key);
      checkMembers(members);
      return members.length ? driver.removeMembers(key, members) : 0;
    },
    async members(key) {
      checkKey(key);
      return driver.members(key);
    },
    async hasMember(key, member) {
      checkKey(key);
      checkMembers([member]);
      return driver.hasMember(key, member);
    },
    async addScored(key, member, score) {
      checkKey(key);
      checkMembers([member]);
      checkNumber(score, 'score');
      return driver.addScored(key, member, score);
    },
    async scoredUpTo(key, max, limit) {
      checkKey(key);
      if (typeof max !== 'number' || Number.isNaN(max)) throw refuse("'max' is a number.");
      checkVersion(limit);
      return limit === 0 ? [] : driver.scoredUpTo(key, max, limit);
    },
    async removeScored(key, member) {
      checkKey(key);
      checkMembers([member]);
      return driver.removeScored(key, member);
    },
    async lease(name, owner, ttlMs) {
      checkKey(name);
      checkMembers([owner]);
      checkTtl(ttlMs);
      return driver.lease(name, owner, ttlMs);
    },
    async releaseLease(name, owner) {
      checkKey(name);
      return driver.releaseLease(name, owner);
    },
    keys: (prefix) => driver.keys(prefix),
    close: () => driver.close(),
  };
}
